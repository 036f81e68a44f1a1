import { spawnSync } from 'node:child_process';

const found = spawnSync('promtool', ['--version']).status === 0;

/** Why tests that need promtool are skipped; false where it is there. Where CI says it must be there they fail instead. */
export const noPromtool: string | false = found || process.env['CI'] ? false : 'promtool is not installed';

/** Runs promtool; what it said on both outputs and whether it was content. */
export function promtool(args: readonly string[], input = ''): { readonly ok: boolean; readonly said: string } {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, { input, encoding: 'utf8', timeout: 120_000 });
  return { ok: status === 0, said: `${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}` };
}
