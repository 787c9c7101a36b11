// run: deadline 400
import { missing } from "../support/tools.ts";
import { redisFaults, RedisGround } from "./redis.ts";
import { faultsOf } from "./scenario.ts";

faultsOf("redis", missing("redis-server"), redisFaults, () => RedisGround.open());
