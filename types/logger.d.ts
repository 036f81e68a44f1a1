/** The event log: one method a level, an object of safe fields and a name. pino and console-like loggers fit. */
export interface Logger {
  debug(fields: object, event: string): void;
  info(fields: object, event: string): void;
  warn(fields: object, event: string): void;
  error(fields: object, event: string): void;
}
