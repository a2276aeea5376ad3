/**
 * The server's settings, on its command line: one place, and a data folder made by an older version follows a newer one. Meant
 * for a laptop that also runs an editor and DuckDB.
 */
const settings: Record<string, string> = {
  // Reached by this machine only, and by password only.
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',

  // An answered write survives a power cut.
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  wal_compression: 'on',
  max_wal_size: '1GB',
  checkpoint_timeout: '15min',

  max_connections: '50',
  shared_buffers: '128MB',
  work_mem: '16MB',
  maintenance_work_mem: '128MB',
  effective_cache_size: '1GB',
  random_page_cost: '1.1',
  // Reads are index probes, and a container's small /dev/shm fails parallel plans.
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  // Nobody replicates a laptop's store.
  max_wal_senders: '0',
  wal_level: 'replica',
  max_logical_replication_workers: '0',

  TimeZone: 'UTC',
  log_timezone: 'UTC',

  // To our own file. A client is told its errors; here their statements, details and often their words hold values, which a log
  // must not. What the server says of itself (LOG, FATAL, PANIC) is kept.
  logging_collector: 'off',
  log_destination: 'stderr',
  lc_messages: 'C',
  log_line_prefix: '%m [%p] ',
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_parameter_max_length_on_error: '0',
  log_checkpoints: 'off',
};

export function serverArguments(dir: string, port: number): string[] {
  const pairs = Object.entries({ ...settings, port: String(port) });
  return ['-D', dir, ...pairs.flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/** Of two servers with the same text, one can stand for the other. */
export function settingsText(): string {
  return JSON.stringify(settings);
}
