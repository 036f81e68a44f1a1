/**
 * Imported before each test file: a process whose event loop has ended leaves at once. Taking down its environment, Node 24.21 can wait
 * without end for a handle that is closed already (seen once in some thousand files, in `CleanupHandles`).
 */
process.on('exit', () => process.exit());
