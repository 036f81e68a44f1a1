/** The event log: one method per level, with an object of fields without secrets and the name of the event. Compatible with pino. */
export interface Logger {
  debug(fields: object, event: string): void;
  info(fields: object, event: string): void;
  warn(fields: object, event: string): void;
  error(fields: object, event: string): void;
}
