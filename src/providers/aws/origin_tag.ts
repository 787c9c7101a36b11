/**
 * The tag of a bus's queue that contains where and when the bus was opened, for lists of buses.
 *
 * @module
 */
import type { BusOrigin } from "../../provider/admin.ts";

/** The name of the tag. */
export const ORIGIN_TAG = "tsmq-bus";
/** The largest number of characters of the name of a host or a program: SQS allows 256 for a tag. */
const PART_LENGTH = 96;
/** Stands for a part that is not known. */
const UNKNOWN = "-";

/** Returns the tag for an origin. */
export function writeOrigin({ pid, since, host, process }: BusOrigin): Record<string, string> {
  return { [ORIGIN_TAG]: [pid ?? UNKNOWN, since ?? UNKNOWN, plain(host), plain(process)].join(" ") };
}

/** Returns the origin in the tags of a queue. */
export function readOrigin(tags: Readonly<Record<string, string>>): BusOrigin {
  const [pid, since, host, process] = (tags[ORIGIN_TAG] ?? "").split(" ");
  return { process: given(process), host: given(host), pid: whole(pid), since: whole(since) };
}

/** Replaces spaces, and the characters that SQS does not allow in a tag. */
function plain(text: string | undefined): string {
  return text ? text.slice(0, PART_LENGTH).replace(/[^A-Za-z0-9_.:/=+@-]/g, "_") : UNKNOWN;
}

function given(text: string | undefined): string | undefined {
  return text === undefined || text === "" || text === UNKNOWN ? undefined : text;
}

function whole(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
