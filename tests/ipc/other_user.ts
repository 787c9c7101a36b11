/**
 * Creates a queue with an item, and a directory, which are in the way of another user. Arguments: their names, and the mode of the queue,
 * by default 666.
 */
import { mkdirSync } from "node:fs";
import process from "node:process";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";

const [queue, directory, mode = "666"] = process.argv.slice(2) as [string, string, string?];
process.umask(0);
const posix = await loadPosix();
const descriptor = posix.openQueue(queue, { messages: 1, size: 100, mode: parseInt(mode, 8) });
const item = writeItem('"theirs"', false);
posix.send(descriptor, item, item.length);
mkdirSync(directory, { mode: 0o777 });
console.log(descriptor >= 0 ? "made" : `errno ${-descriptor}`);
