/** Creates a queue with an item, and a directory, which are in the way of another user. Arguments: their names. */
import { mkdirSync } from "node:fs";
import process from "node:process";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";

const [queue, directory] = process.argv.slice(2) as [string, string];
process.umask(0);
const posix = await loadPosix();
const descriptor = posix.openQueue(queue, { messages: 1, size: 100, mode: 0o666 });
const item = writeItem('"theirs"', false);
posix.send(descriptor, item, item.length);
mkdirSync(directory, { mode: 0o777 });
console.log(descriptor >= 0 ? "made" : `errno ${-descriptor}`);
