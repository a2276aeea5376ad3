// A process of its own, since DuckDB's work cannot be given a time-out: `install NAME FOLDER` or `load FILE`.
import { DuckDBInstance } from '@duckdb/node-api';

const [action, subject, folder] = process.argv.slice(2);
const instance = await DuckDBInstance.create(':memory:');
const connection = await instance.connect();
const text = (value) => `'${value.replaceAll("'", "''")}'`;
if (action === 'install') {
  await connection.run(`SET extension_directory = ${text(folder)}`);
  await connection.run(`INSTALL ${subject}`);
} else {
  await connection.run(`LOAD ${text(subject)}`);
}
