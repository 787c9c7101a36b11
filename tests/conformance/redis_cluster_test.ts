import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { redis } from "../../src/providers/redis/provider.ts";
import { type RedisGroup, startCluster } from "../support/redis_cluster.ts";
import { sample } from "../support/share.ts";
import { kit } from "./run.ts";

/** The subjects that depend on several nodes. The others run with one server. */
const ROOMS = /^(claims|pubsub|queues|leases|consumers|prefetch|groups|inspection|admin|rpc|runs|multi): /;

describe("conformance of a Redis Cluster", () => {
  let cluster: RedisGroup;
  beforeAll(async () => cluster = await startCluster());
  afterAll(() => cluster.stop());
  // before it runs, only the features are read
  kit({ provider: () => redis({ cluster: cluster?.nodes ?? ["redis://localhost"] }) }, {
    which: (cases) => sample(cases.filter(({ name }) => ROOMS.test(name))),
  });
});
