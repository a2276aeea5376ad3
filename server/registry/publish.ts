import { setTimeout as delay } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import type { Change, ChangeEvent, PlanAnswer, PublishAnswer } from '../../contract/api';
import { readDefinitions } from '../../contract/definitions';
import { LoftError } from '../../contract/errors';
import { parseJson, printJson } from '../../contract/json';
import { appendChange } from '../changes/changeLog';
import { sqlState, type Db } from '../postgres/connect';
import { featureTable } from '../postgres/identifiers';
import { inTransaction } from '../postgres/transaction';
import { loadRegistry } from './load';
import { planChanges, planHash, type ChangeRequest, type Plan, type PlanFacts, type Step } from './plan';
import type { RegistrySnapshot } from './snapshot';

/** A plan or publish as it came; `definitions` is the raw parsed JSON or YAML. */
export interface PlanInput {
  definitions: unknown;
  remove?: readonly string[] | undefined;
  promote?: boolean | { services: string[] } | undefined;
}
export interface PublishInput extends PlanInput {
  planHash?: string | undefined;
  registryVersion?: number | undefined;
  force?: boolean | undefined;
}

/** Statements that change tables wait at most this long for a lock: whoever waits is waited for by every reader behind. */
const TABLE_LOCK_MS = 200;
/** Waiting for another publisher, who holds the registry for as long as a publish takes. */
const REGISTRY_LOCK_MS = 10_000;
const BUSY_AFTER_MS = 10_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;
const LOCK_NOT_AVAILABLE = '55P03';

/** What a publish of the same would change now. Throws LoftError 422 `bad_definition`. */
export async function plan(db: Db, input: PlanInput): Promise<PlanAnswer> {
  const request = readRequest(input);
  const snapshot = await loadRegistry(db);
  const { changes } = planChanges(snapshot, await loadFacts(db), request);
  return { planHash: planHash(snapshot.registryVersion, changes), registryVersion: snapshot.registryVersion, changes };
}

function readRequest(input: PlanInput): ChangeRequest {
  return { definitions: readDefinitions(input.definitions), remove: input.remove, promote: input.promote };
}

async function loadFacts(client: Db | PoolClient): Promise<PlanFacts> {
  const { rows } = await client.query<{ view: string; last_version: string }>(
    'SELECT view, last_version FROM registry.retired_views',
  );
  return { lastVersions: new Map(rows.map((row) => [row.view, Number(row.last_version)])) };
}

/**
 * Applies exactly the plan that the input asks for, in one transaction, or nothing. `origin` says in the audit log from
 * where. Refuses with LoftError: 409 `registry_moved` or `plan_differs` (with the plan of now), `plan_required` (with the
 * plan), `in_use`, `needs_staging`; 422 `bad_definition`; 503 `view_busy` or `registry_busy`.
 */
export async function publish(db: Db, input: PublishInput, origin: string): Promise<PublishAnswer> {
  const request = readRequest(input);
  const giveUpAt = Date.now() + BUSY_AFTER_MS;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    try {
      return await inTransaction(db, (client) => publishOnce(client, input, request, origin));
    } catch (error) {
      // A table is in use, as by a bulk load: let go of everything, so that nobody queues behind us, and try again.
      if (sqlState(error) !== LOCK_NOT_AVAILABLE) throw error;
      if (Date.now() + pause > giveUpAt)
        throw new LoftError(
          503,
          'view_busy',
          'A table that this publish changes was in use for 10 s, as by a bulk load. Nothing was published; try again shortly.',
          { retryAfterSeconds: 5, cause: error },
        );
      await delay(pause * (0.5 + Math.random()));
    }
  }
}

async function publishOnce(
  client: PoolClient,
  input: PublishInput,
  request: ChangeRequest,
  origin: string,
): Promise<PublishAnswer> {
  await lockRegistry(client);
  const before = input.planHash === undefined ? undefined : await storedAnswer(client, input.planHash);
  if (before !== undefined) return before;
  const snapshot = await loadRegistry(client);
  const made = planChanges(snapshot, await loadFacts(client), request);
  const { registryVersion } = snapshot;
  const now: PlanAnswer = { planHash: planHash(registryVersion, made.changes), registryVersion, changes: made.changes };
  refuseMoved(input, now);
  if (made.changes.length === 0) return { registryVersion, changes: [] };
  if (input.planHash === undefined) refuseUnplanned(now);
  if (input.force !== true) refuseInUse(made.changes);
  await client.query(`SET LOCAL lock_timeout = '${TABLE_LOCK_MS}ms'`);
  await refuseFilled(client, made.replaced);
  return apply(client, snapshot, made, now, { origin, force: input.force === true });
}

/** Until the transaction ends there is no other publish; readers and writers of values are not held up. */
async function lockRegistry(client: PoolClient): Promise<void> {
  await client.query(`SET LOCAL lock_timeout = '${REGISTRY_LOCK_MS}ms'`);
  try {
    await client.query('SELECT 1 FROM registry.head FOR UPDATE');
  } catch (error) {
    if (sqlState(error) !== LOCK_NOT_AVAILABLE) throw error;
    throw new LoftError(
      503,
      'registry_busy',
      'Other publishes were running for 10 s. Nothing was published; try again.',
      {
        retryAfterSeconds: 2,
        cause: error,
      },
    );
  }
}

/** A publish whose answer was lost is sent again, and gets the answer. */
async function storedAnswer(client: PoolClient, hash: string): Promise<PublishAnswer | undefined> {
  const { rows } = await client.query<{ answer: string }>(
    'SELECT answer FROM registry.applied_plans WHERE plan_hash = $1',
    [hash],
  );
  const row = rows[0];
  return row && (parseJson(row.answer) as unknown as PublishAnswer);
}

function refuseMoved(input: PublishInput, now: PlanAnswer): void {
  if (input.registryVersion !== undefined && input.registryVersion !== now.registryVersion)
    throw new LoftError(
      409,
      'registry_moved',
      `The registry is at version ${now.registryVersion}, not ${input.registryVersion}: somebody published meanwhile. The plan of now is in \`plan\`; review it and publish with its hash.`,
      { extra: { plan: now } },
    );
  if (input.planHash === undefined || input.planHash === now.planHash) return;
  if (input.registryVersion === undefined)
    throw new LoftError(
      409,
      'registry_moved',
      `The plan with this hash does not hold any more: the registry (now at version ${now.registryVersion}) or the definitions changed since. The plan of now is in \`plan\`; review it and publish with its hash.`,
      { extra: { plan: now } },
    );
  throw new LoftError(
    409,
    'plan_differs',
    'These definitions are not the ones that the plan hash was made for. Their plan is in `plan`; review it and publish with its hash.',
    { extra: { plan: now } },
  );
}

function refuseUnplanned(now: PlanAnswer): void {
  const reviewed = now.changes.find((change) => change.class === 'breaking');
  if (reviewed === undefined) return;
  throw new LoftError(
    409,
    'plan_required',
    `This publish ${reviewed.action === 'remove' ? 'removes' : 'breaks'} ${reviewed.kind} ${reviewed.name}. Its plan is in \`plan\`; review it and publish again with its planHash.`,
    { extra: { plan: now } },
  );
}

function refuseInUse(changes: readonly Change[]): void {
  const used = changes.filter(
    ({ action, affects }) => action === 'remove' && affects.services.length + affects.trainingSets.length > 0,
  );
  const first = used[0];
  if (first === undefined) return;
  const users = (change: Change): string =>
    [
      ...change.affects.services.map((name) => `service ${name}`),
      ...change.affects.trainingSets.map((name) => `training set ${name}`),
    ].join(', ');
  throw new LoftError(
    409,
    'in_use',
    `${first.kind} ${first.name} is used by ${users(first)}. Remove or change these first, or publish with force.`,
    {
      problems: used.map((change) => ({
        path: 'remove',
        code: 'in_use',
        found: `${change.name}${change.version === undefined ? '' : `@v${change.version}`}`,
        expected: `not used, but it is by ${users(change)}`,
      })),
    },
  );
}

/** A breaking change replaces a version at once only while nobody has written to it; the lock keeps it so until commit. */
async function refuseFilled(client: PoolClient, replaced: Plan['replaced']): Promise<void> {
  const filled: string[] = [];
  for (const { view, version } of replaced) {
    await client.query(`LOCK TABLE ${featureTable(view, version)} IN SHARE ROW EXCLUSIVE MODE`);
    const { rows } = await client.query<{ filled: string }>(
      `SELECT EXISTS (SELECT 1 FROM ${featureTable(view, version)})
           OR EXISTS (SELECT 1 FROM registry.outbox WHERE view = $1 AND version = $2)
           OR EXISTS (SELECT 1 FROM registry.view_state WHERE view = $1 AND version = $2 AND rows > 0) AS filled`,
      [view, version],
    );
    if (rows[0]?.filled === 't') filled.push(`${view} (version ${version})`);
  }
  if (filled.length > 0)
    throw new LoftError(
      409,
      'needs_staging',
      `${filled.join(', ')} already holds rows, and this change breaks those who read it. Staged versions are not there yet: publish the change as a view of another name.`,
    );
}

async function apply(
  client: PoolClient,
  snapshot: RegistrySnapshot,
  made: Plan,
  now: PlanAnswer,
  audit: { origin: string; force: boolean },
): Promise<PublishAnswer> {
  for (const step of made.steps) await applyStep(client, step);
  const registryVersion = snapshot.registryVersion + 1;
  const answer: PublishAnswer = { registryVersion, changes: made.changes };
  await client.query('UPDATE registry.head SET registry_version = $1', [registryVersion]);
  await client.query('INSERT INTO registry.applied_plans (plan_hash, registry_version, answer) VALUES ($1, $2, $3)', [
    now.planHash,
    registryVersion,
    printJson(answer),
  ]);
  await client.query('INSERT INTO registry.audit (what, origin) VALUES ($1, $2)', [
    printJson({ did: 'publish', registryVersion, planHash: now.planHash, force: audit.force, changes: made.changes }),
    audit.origin,
  ]);
  await appendChange(client, eventOf(answer));
  return answer;
}

function eventOf({ registryVersion, changes }: PublishAnswer): ChangeEvent {
  return {
    registryVersion,
    changes: changes.map(({ kind, name, version, action }) => ({
      kind,
      name,
      ...(version === undefined ? {} : { version }),
      action,
    })),
  };
}

async function applyStep(client: PoolClient, step: Step): Promise<void> {
  switch (step.do) {
    case 'sql':
      await client.query(step.statement);
      return;
    case 'putEntity':
      await client.query(
        `INSERT INTO registry.entities (name, definition) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET definition = excluded.definition`,
        [step.entity.name, printJson(step.entity)],
      );
      return;
    case 'removeEntity':
      await client.query('DELETE FROM registry.entities WHERE name = $1', [step.name]);
      return;
    case 'createVersion': {
      const { name, version, definition, entity } = step.version;
      await client.query(
        `INSERT INTO registry.views (name, current_version) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET current_version = excluded.current_version`,
        [name, version],
      );
      await client.query(
        'INSERT INTO registry.view_versions (view, version, definition, entity_definition) VALUES ($1, $2, $3, $4)',
        [name, version, printJson(definition), printJson(entity)],
      );
      return;
    }
    case 'changeVersion':
      await client.query('UPDATE registry.view_versions SET definition = $3 WHERE view = $1 AND version = $2', [
        step.version.name,
        step.version.version,
        printJson(step.version.definition),
      ]);
      return;
    case 'removeVersion':
      await removeVersion(client, step.view, step.version);
      return;
    case 'putService':
      await client.query(
        `INSERT INTO registry.services (name, definition, resolved) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, resolved = excluded.resolved`,
        [step.service.definition.name, printJson(step.service.definition), printJson(step.service.resolved)],
      );
      return;
    case 'removeService':
      await client.query('DELETE FROM registry.services WHERE name = $1', [step.name]);
      return;
  }
}

/** Its rows that are not drained yet have no history to go to; those of its table rest in schema trash. */
async function removeVersion(client: PoolClient, view: string, version: number): Promise<void> {
  const name = [view, version];
  await client.query(
    `INSERT INTO registry.retired_views (view, last_version) VALUES ($1, $2)
     ON CONFLICT (view) DO UPDATE SET last_version = greatest(retired_views.last_version, excluded.last_version)`,
    name,
  );
  await client.query('DELETE FROM registry.outbox WHERE view = $1 AND version = $2', name);
  await client.query('DELETE FROM registry.view_state WHERE view = $1 AND version = $2', name);
  await client.query('DELETE FROM registry.view_versions WHERE view = $1 AND version = $2', name);
  await client.query(
    'DELETE FROM registry.views WHERE name = $1 AND NOT EXISTS (SELECT 1 FROM registry.view_versions WHERE view = $1)',
    [view],
  );
}
