import { say } from "./peer_side.ts";
import { RedisServer } from "./redis_server.ts";

const { pid, dir } = await RedisServer.start();
say({ pid, dir });
