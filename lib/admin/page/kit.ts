// What the shell and the panels share, in one file of the built page: otherwise every few of them would make a file of their own.

export * from './api.ts';
export * from './ask.ts';
export * from './cli.ts';
export * from './failure.ts';
export * from './finding.tsx';
export * from './limit.ts';
export * from './more.tsx';
export * from './parts.tsx';
export * from './route.ts';
export * from './stream.ts';
export * from './text.ts';
export * from './ui.tsx';
