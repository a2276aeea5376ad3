import { readDefinitions } from '../../../contract/definitions';
import { assembleSnapshot } from '../../../server/registry/load';
import { planChanges, type Plan } from '../../../server/registry/plan';
import type { RegistrySnapshot, Service } from '../../../server/registry/snapshot';

export const nothing: RegistrySnapshot = assembleSnapshot(0, new Map(), [], [], []);

/** The plan of definitions as people write them. */
export function plan(
  snapshot: RegistrySnapshot,
  definitions: object,
  more: { remove?: string[]; lastVersions?: Record<string, number> } = {},
): Plan {
  return planChanges(
    snapshot,
    { lastVersions: new Map(Object.entries(more.lastVersions ?? {})) },
    { definitions: readDefinitions(definitions), remove: more.remove },
  );
}

/** The registry after publishing one after the other. */
export function published(...publishes: object[]): RegistrySnapshot {
  return publishes.reduce<RegistrySnapshot>(
    (snapshot, definitions) => after(snapshot, plan(snapshot, definitions)),
    nothing,
  );
}

/** The registry after a plan was applied. */
export function after(snapshot: RegistrySnapshot, { steps }: Plan): RegistrySnapshot {
  const entities = new Map(snapshot.entities);
  const versions = new Map(
    [...snapshot.views.values()].flatMap((ofView) => [...ofView.values()]).map((one) => [one.table, one]),
  );
  const services = new Map<string, Service>(snapshot.services);
  for (const step of steps) {
    if (step.do === 'putEntity') entities.set(step.entity.name, step.entity);
    else if (step.do === 'removeEntity') entities.delete(step.name);
    else if (step.do === 'putService') services.set(step.service.definition.name, step.service);
    else if (step.do === 'removeService') services.delete(step.name);
    else if (step.do === 'removeVersion') versions.delete(`${step.view}_v${step.version}`);
    else if (step.do === 'createVersion' || step.do === 'changeVersion') {
      if (step.do === 'createVersion')
        for (const [table, one] of versions)
          if (one.name === step.version.name) versions.set(table, { ...one, current: false });
      versions.set(step.version.table, step.version);
    }
  }
  return assembleSnapshot(
    snapshot.registryVersion + 1,
    entities,
    [...versions.values()],
    [...services.values()],
    snapshot.trainingSets,
  );
}

export const weather = {
  entities: [{ name: 'airport', keys: { origin: 'string' } }],
  views: [
    {
      name: 'weather',
      entity: 'airport',
      ttl: '3h',
      tags: ['hourly'],
      features: { temp: { type: 'float64', description: 'Temperature in °F' }, wind: 'float64' },
    },
  ],
  services: [{ name: 'delay', features: ['weather:temp'] }],
};

/** The sample with its view changed. */
export function weatherWith(view: object): typeof weather {
  return { ...weather, views: [{ ...(weather.views[0] as (typeof weather.views)[number]), ...view }] };
}
