// run: deadline 400
import { missing } from "../support/tools.ts";
import { redisFaults, RedisGround, tlsFaults } from "./redis.ts";
import { faultsOf } from "./scenario.ts";

faultsOf("redis", missing("redis-server"), redisFaults, () => RedisGround.open());
faultsOf(
  "redis over TLS",
  missing("redis-server") ?? missing("openssl"),
  tlsFaults,
  () => RedisGround.open({ tls: true }),
);
