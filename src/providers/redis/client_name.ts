/**
 * The names that buses give to their connections for events, so that `CLIENT LIST` shows which buses are up.
 *
 * @module
 */
import { TextMap } from "../../internal/text_map.ts";
import type { BusInfo, BusOrigin } from "../../provider/admin.ts";

/** The number of digits of an inbox that are used as the id of its bus. They do not reveal the inbox. */
const ID_LENGTH = 8;
/** The largest number of characters of the name of a host or a program. */
const PART_LENGTH = 64;

/** Matches the name of a connection. A character of a part is written as nine at most. */
const NAME = /^tsmq:([0-9a-f]{8}):(\d{1,10})?:(\d{1,15})?:([^:]{0,576}):([^:]{0,576})$/;

/** Returns the id of the bus that has this inbox. */
export function busId(inbox: string): string {
  return inbox.slice(inbox.lastIndexOf(":") + 1).slice(0, ID_LENGTH);
}

/** Returns a name for a connection of the bus that has this inbox: printable ASCII without spaces, as Redis requires. */
export function writeClientName(inbox: string, { pid, since, host, process }: BusOrigin): string {
  return ["tsmq", busId(inbox), pid, since, encode(host), encode(process)].join(":");
}

/** Reads the reply to CLIENT LIST: the buses by their ids. Other clients may have any name. */
export function readClients(list: string): TextMap<BusInfo> {
  const found = new TextMap<BusInfo>();
  for (const line of list.split("\n")) {
    const [, name = ""] = /(?:^| )name=(\S*)/.exec(line) ?? [];
    const [, id, pid, since, host, process] = NAME.exec(name) ?? [];
    if (id === undefined) continue;
    const [, address] = /(?:^| )addr=(\S+):\d+/.exec(line) ?? [];
    found.set(id, {
      id,
      process: decode(process),
      host: decode(host) ?? address,
      pid: pid === undefined ? undefined : Number(pid),
      since: since === undefined ? undefined : Number(since),
    });
  }
  return found;
}

function encode(text = ""): string {
  return encodeURIComponent(text.slice(0, PART_LENGTH).toWellFormed());
}

function decode(text = ""): string | undefined {
  try {
    return text === "" ? undefined : decodeURIComponent(text).slice(0, PART_LENGTH);
  } catch {
    return undefined;
  }
}
