/**
 * The checks of `tsmq doctor` that read INFO and the output buffer limits.
 *
 * @module
 */
import type { Check } from "../../provider/admin.ts";
import type { Settings } from "./settings.ts";

/** The oldest version with everything that a bus needs: `RPOP key count`, `CLIENT TRACKING`, ACL rules for channels. */
const OLDEST = [6, 2];
/** The share of a limit from which a check warns. */
const NEARLY = 0.9;

/** Checks INFO, and the output buffer limits if the user may read them. */
export function* checkInfo(
  info: ReadonlyMap<string, string>,
  limits: string | undefined,
  settings: Settings,
): Generator<Check> {
  yield version(info);
  yield role(info);
  if (info.get("cluster_enabled") === "1" && !settings.cluster) {
    const mend = "give the nodes: redis+cluster://host:port,host:port";
    yield { name: "cluster", state: "broken", detail: "the server is a node of a Redis Cluster", mend };
  }
  yield memory(info);
  yield persistence(info);
  yield clients(info);
  if (limits !== undefined) yield buffers(limits, settings);
}

function version(info: ReadonlyMap<string, string>): Check {
  const name = "version";
  const valkey = info.get("valkey_version");
  const version = info.get("redis_version") ?? "";
  const detail = valkey ? `Valkey ${valkey}` : `Redis ${version || "of an unknown version"}`;
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > OLDEST[0]! || (major === OLDEST[0] && minor >= OLDEST[1]!)) return { name, state: "ok", detail };
  return { name, state: "broken", detail, mend: `tsmq needs Redis ${OLDEST.join(".")} or later, or Valkey` };
}

function role(info: ReadonlyMap<string, string>): Check {
  const name = "role";
  if (info.get("role") !== "slave") return { name, state: "ok", detail: info.get("role") ?? "unknown" };
  const master = `${info.get("master_host")}:${info.get("master_port")}`;
  const detail = `a replica of ${master}: it accepts no items and no registrations`;
  return { name, state: "broken", detail, mend: `connect to the master, redis://${master}, or to the Sentinels` };
}

function memory(info: ReadonlyMap<string, string>): Check {
  const name = "memory";
  const [used, max] = [Number(info.get("used_memory") ?? 0), Number(info.get("maxmemory") ?? 0)];
  const policy = info.get("maxmemory_policy") ?? "unknown";
  if (max === 0) return { name, state: "ok", detail: `${mib(used)} used, without a limit` };
  const detail = `${mib(used)} of ${mib(max)} used, maxmemory-policy ${policy}`;
  if (policy.startsWith("allkeys-")) {
    const mend = "CONFIG SET maxmemory-policy noeviction: a full server has to refuse items, not delete queues";
    return { name, state: "risk", detail, mend };
  }
  if (used >= max) return { name, state: "broken", detail, mend: "CONFIG SET maxmemory higher, or empty a queue" };
  if (used >= max * NEARLY) {
    return { name, state: "risk", detail, mend: "nearly full: when it is full, put and expose fail" };
  }
  if (policy.startsWith("volatile-")) {
    const mend =
      "CONFIG SET maxmemory-policy noeviction: registrations of servers expire, so they would be deleted first";
    return { name, state: "risk", detail, mend };
  }
  return { name, state: "ok", detail };
}

function persistence(info: ReadonlyMap<string, string>): Check {
  const name = "persistence";
  if (info.get("rdb_last_bgsave_status") === "err" || info.get("aof_last_write_status") === "err") {
    const mend =
      "check that the disk has space and `dir` is writable; until then the server may refuse every write (MISCONF)";
    return { name, state: "broken", detail: "the server cannot write its data to disk", mend };
  }
  if (info.get("aof_enabled") === "1") return { name, state: "ok", detail: "append-only file" };
  const mend = "CONFIG SET appendonly yes, if items in queues have to survive a crash of the server";
  return {
    name,
    state: "risk",
    detail: "no append-only file: a crash loses the items that were put since the last snapshot",
    mend,
  };
}

function clients(info: ReadonlyMap<string, string>): Check {
  const name = "clients";
  const [connected, max] = [Number(info.get("connected_clients") ?? 0), Number(info.get("maxclients") ?? Infinity)];
  const detail = `${connected} of ${max} connections`;
  if (connected < max * NEARLY) return { name, state: "ok", detail };
  return {
    name,
    state: "risk",
    detail,
    mend: "raise maxclients, or find the clients with many connections: CLIENT LIST",
  };
}

/** Checks the output buffer limits, such as `pubsub 33554432 8388608 60`: hard limit, soft limit, seconds over the soft limit. */
function buffers(limits: string, { maxEvent }: Settings): Check {
  const name = "pub/sub buffer";
  const [, hard = 0, soft = 0, seconds = 0] = (/pubsub (\d+) (\d+) (\d+)/.exec(limits) ?? []).map(Number);
  const detail =
    `the server disconnects a subscriber with more than ${hard ? mib(hard) : "any number of bytes"} pending` +
    (soft ? `, or ${mib(soft)} for ${seconds} s` : "");
  if (hard === 0 || hard >= maxEvent) return { name, state: "ok", detail: hard === 0 ? "no limit" : detail };
  const mend = `CONFIG SET client-output-buffer-limit "pubsub ${maxEvent} ${Math.ceil(maxEvent / 4)} 60", or lower ` +
    `the option maxEvent (${mib(maxEvent)}) to what the server allows`;
  return { name, state: "risk", detail, mend };
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 20 * 10 ? 1 : 0)} MiB`;
}
