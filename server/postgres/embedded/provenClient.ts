import type { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { Client, type ClientConfig } from 'pg';

/** What pg's client has and its types leave out. */
interface Internals {
  connection: EventEmitter & { stream: Duplex };
}

/**
 * A client that only talks to a server which has shown, by SCRAM, to know our password, and never sends the password itself.
 * Another account may listen on our port while Postgres is down; pg would hand it the password in clear text when asked, or
 * believe it unasked.
 */
export class ProvenClient extends Client {
  constructor(config?: string | ClientConfig) {
    super(config);
    const { connection } = this as unknown as Internals;
    let proven = false;
    const refuse = () => {
      connection.stream.destroy(new Error('The server on this port did not prove to be this folder’s Postgres.'));
    };
    // Before pg's own listeners, which come with connect(): what they then write goes nowhere.
    connection.on('authenticationCleartextPassword', refuse);
    connection.on('authenticationMD5Password', refuse);
    connection.on('authenticationSASLFinal', () => (proven = true));
    connection.on('authenticationOk', () => {
      if (!proven) refuse();
    });
  }
}
