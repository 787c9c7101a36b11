/**
 * The lists of an admin, in steps: members of a group can have written any number of names.
 *
 * @module
 */
import type { BusInfo, FunctionInfo, TopicInfo } from "../../provider/admin.ts";
import { adderTo, limited, MAX_LISTED, MAX_SERVERS } from "../../provider/listing.ts";
import { originOfBus } from "../../internal/origin.ts";
import { TextMap } from "../../internal/text_map.ts";
import { hashed, MAX_PATTERN } from "./names.ts";
import { type Namespace, THREAD } from "./namespace.ts";
import { busOf, GROUP, PATTERNS } from "./patterns.ts";
import type { Steps } from "./walk.ts";

/** Returns how a warning calls these things of the namespace. */
type Titled = (things: string) => string;

const decoder = new TextDecoder();

/** Lists the topics and patterns with their subscribers. */
export function* listTopics(namespace: Namespace, titled: Titled): Steps<TopicInfo[]> {
  const { directories, names } = namespace;
  const files = limited(titled("patterns"), directories.list(PATTERNS).filter((file) => !isBinding(file)));
  const patterns = new TextMap<number>();
  for (const pattern of yield* textsOf(namespace, titled("patterns"), yield* living(namespace, files, busOf))) {
    patterns.set(pattern, (patterns.get(pattern) ?? 0) + 1);
  }
  const leaf = (name: string) => names.parseBus(name) !== undefined;
  const links: (readonly [topic: string, bus: string])[] = [];
  const visit = (topic: string, below: readonly string[]) => {
    for (const bus of below) if (leaf(bus)) links.push([topic, bus]);
  };
  yield* directories.walk("subscribers", { visit, leaf });
  const found = new TextMap<number>();
  for (const [topic] of yield* living(namespace, links, ([, bus]) => bus)) {
    found.set(topic, (found.get(topic) ?? 0) + 1);
  }
  const topics = limited(titled("topics"), found.keys());
  return [
    ...topics.map((name) => ({ name, pattern: false, subscribers: found.get(name) })),
    ...[...patterns].map(([name, subscribers]) => ({ name, pattern: true, subscribers })),
  ];
}

/** Lists the functions and their servers. */
export function* listFunctions(namespace: Namespace, titled: Titled): Steps<FunctionInfo[]> {
  const { directories } = namespace;
  const listed = limited(titled("functions"), directories.list("servers"));
  const servers: (readonly [directory: string, bus: string])[] = [];
  const register = adderTo(servers, titled("servers of functions"), MAX_SERVERS);
  for (const directory of listed) {
    if (!directories.list(`servers/${directory}`).every((bus) => register([directory, bus]))) break;
    yield;
  }
  const found = new TextMap<string[]>(listed.map((directory) => [directory, []]));
  for (const [directory, bus] of yield* living(namespace, servers, ([, bus]) => bus)) found.get(directory)!.push(bus);
  const functions: (readonly [name: string, ...ids: string[]])[] = [];
  const add = adderTo(functions, titled("functions"), MAX_LISTED);
  for (const [directory, buses] of found) {
    const name = yield* nameOf(namespace, directory, buses);
    if (name !== undefined && !add([name, ...buses.map(busId)])) break;
  }
  return functions.map(([name, ...servers]) => ({ name, servers }));
}

/** Lists the bindings of groups, as texts. */
export function* listBindings(namespace: Namespace, titled: Titled): Steps<string[]> {
  const files = limited(titled("groups"), namespace.directories.list(PATTERNS).filter(isBinding));
  return yield* textsOf(namespace, titled("groups"), files);
}

/** Lists the names of the buses. */
export function* listBuses(namespace: Namespace, titled: Titled): Steps<string[]> {
  return yield* living(namespace, limited(titled("buses"), namespace.buses()), String);
}

/** Describes buses. */
export function* describeBuses(namespace: Namespace, buses: readonly string[]): Steps<BusInfo[]> {
  const { directories, names, processes } = namespace;
  const { host } = originOfBus();
  const infos: BusInfo[] = [];
  for (const bus of buses) {
    const parsed = names.parseBus(bus)!;
    const opened = directories.stat(`${namespace.busDirectory(bus)}/${THREAD}`);
    const { uid = -1, modified = -1 } = typeof opened === "object" ? opened : {};
    // a member of the group can set any time
    const since = modified >= 0 && modified <= Date.now() ? Math.round(modified) : undefined;
    infos.push({ id: busId(bus), process: processes.programOf(parsed, uid), host, pid: parsed.pid, since });
    yield;
  }
  return infos;
}

/** Returns the things whose bus lives. `nameOf` returns its name. */
function* living<T>({ names, processes }: Namespace, things: readonly T[], nameOf: (thing: T) => string): Steps<T[]> {
  const found: T[] = [];
  for (const thing of things) {
    const bus = names.parseBus(nameOf(thing));
    if (bus && !processes.missing(bus)) found.push(thing);
    yield;
  }
  return found;
}

/** Returns the texts of these files of patterns and bindings. */
function* textsOf(namespace: Namespace, title: string, files: readonly string[]): Steps<string[]> {
  const texts: string[] = [];
  const add = adderTo(texts, title, MAX_LISTED);
  for (const file of files) {
    const text = textOf(namespace, PATTERNS, file);
    if (text !== undefined && !add(text)) break;
    yield;
  }
  return texts;
}

/** Returns the name of the function of a directory. An older version wrote none. */
function* nameOf(namespace: Namespace, directory: string, buses: readonly string[]): Steps<string | undefined> {
  for (const bus of buses) {
    yield;
    const name = textOf(namespace, `servers/${directory}`, bus);
    if (name !== undefined && hashed(name) === directory) return name;
  }
  return undefined;
}

/** Returns the text of a file or link: undefined if it has just been removed. */
function textOf({ bodyFiles }: Namespace, directory: string, file: string): string | undefined {
  try {
    return decoder.decode(bodyFiles.readItem(directory, file, MAX_PATTERN));
  } catch {
    return undefined;
  }
}

/** Returns whether a file of the patterns is the binding of a group. */
function isBinding(file: string): boolean {
  return file.startsWith(`${GROUP}~`);
}

/** Returns the id of a bus: the random part of its name. */
function busId(bus: string): string {
  return bus.slice(bus.lastIndexOf(".") + 1);
}
