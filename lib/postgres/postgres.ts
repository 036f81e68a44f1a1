// The PostgreSQL that instances share: its tables, and what is read from them.

export { jsonFor, loadPg, reasonOf, textFor } from './connection.ts';
export { FindingsTable } from './findings.ts';
export { postgresReader } from './reader.ts';
export { checkpointsSql, layout, recordColumns, schemaSql, writtenColumns } from './schema.ts';
