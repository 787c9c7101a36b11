/**
 * The command-line application: its commands, the text of `--help`, and errors as one line with an exit code.
 *
 * @module
 */
import {
  type Application,
  ArgumentScannerError,
  buildApplication,
  buildRouteMap,
  type CommandContext,
  formatMessageForArgumentScannerError,
  proposeCompletions,
  run,
  text_en,
  UnexpectedPositionalError,
  UnsatisfiedPositionalError,
} from "@stricli/core";
import process from "node:process";
import { command as call } from "./commands/call.ts";
import { command as completion } from "./commands/completion.ts";
import { command as dead } from "./commands/dead.ts";
import { command as doctor } from "./commands/doctor.ts";
import { command as get } from "./commands/get.ts";
import { command as groups } from "./commands/groups.ts";
import { command as pub } from "./commands/pub.ts";
import { command as put } from "./commands/put.ts";
import { command as bench } from "./commands/bench.ts";
import { command as peek } from "./commands/peek.ts";
import { command as purge } from "./commands/purge.ts";
import { command as queues } from "./commands/queues.ts";
import { command as who } from "./commands/who.ts";
import { command as reap } from "./commands/reap.ts";
import { command as serve } from "./commands/serve.ts";
import { command as sub } from "./commands/sub.ts";
import { command as top } from "./commands/top.ts";
import { command as ui } from "./commands/ui.ts";
import { printable } from "../src/internal/printable.ts";
import { environment } from "./environment.ts";
import { exitCode, EXITS } from "./exit.ts";
import { messageOf, printRaw } from "./io.ts";
import { isUrl, withoutUser } from "./urls.ts";
import { VERSION } from "./version.ts";

const ABOUT = `tsmq: pub/sub, queues and calls over transports that you already run

The first argument of each command is the URL of the transport:
  redis://user:password@host:6379/0   rediss://… for TLS   unix:///path/of/socket
  redis+sentinel://host:26379,host:26379/mymaster   redis+cluster://host:7000,host:7001   rediss+… for TLS
  aws:eu-central-1   aws:us-east-1?endpoint=http://localhost:4566   (the AWS SDK finds the credentials)
  ipc:   memory: (for this process only, to try commands)
  env:NAME   file:/path   (the URL in that variable or file; all users see a password on the command line)
With TSMQ_URL in the environment, the URL can be left out; TSMQ_NAMESPACE is the default of --namespace.
A namespace whose buses have keys needs --keys FILE or TSMQ_KEYS_FILE: {"keys":[{"id":"…","secret":"…"}],"encrypt":false},
the options of a bus. A file that other users may read is refused.

Values are JSON, on the command line, on standard input (one value a line) and on standard output.
A type that JSON lacks has a tag: {"__obj":"NaN","__type":"tsmq:number"}, and likewise tsmq:Date, tsmq:Map, tsmq:Set,
tsmq:bigint (up to 2^53), tsmq:bytes (base64) and tsmq:undefined. Each command reads what another prints.
An error is one line on standard error. So is the progress of long work: a bar, or without a terminal JSON each second.

In one terminal:  tsmq sub redis://localhost greetings
in another:       tsmq pub redis://localhost greetings '"hello"'
watch it:         tsmq top redis://localhost; tsmq who redis://localhost
retry failures:   tsmq dead list redis://localhost; tsmq dead retry redis://localhost jobs
find problems:    tsmq doctor redis://localhost

Exit codes:
${EXITS.map(([code, meaning]) => `  ${code}  ${meaning}`).join("\n")}`;

/** The name of a command in other tools → the command of tsmq. */
const SYNONYMS: Readonly<Record<string, string>> = {
  publish: "pub",
  emit: "pub",
  subscribe: "sub",
  listen: "sub",
  events: "sub",
  push: "put",
  send: "put",
  enqueue: "put",
  pop: "get",
  take: "get",
  receive: "get",
  consume: "get",
  rpc: "call",
  request: "call",
  expose: "serve",
  reply: "serve",
  list: "queues",
  stats: "queues",
  status: "top",
  check: "doctor",
  health: "doctor",
  clean: "reap",
  retry: "dead",
  clients: "who",
  dashboard: "ui",
};

/** Returns the commands that a user may have meant: a synonym, or similar names that begin with the same letter. */
function suggestions(input: string, similar: readonly string[]): readonly string[] {
  const word = input.toLowerCase();
  if (Object.hasOwn(SYNONYMS, word)) return [`\`${SYNONYMS[word]}\``];
  return similar.filter((name) => name.replaceAll("`", "")[0] === word[0]);
}

const text = {
  ...text_en,
  exceptionWhileParsingArguments: (error: unknown) => {
    if (!(error instanceof ArgumentScannerError)) return `tsmq: ${messageOf(error)}`;
    const counted = error instanceof UnexpectedPositionalError || error instanceof UnsatisfiedPositionalError;
    // an argument in the wrong place may be a URL with a password
    const text = withoutUser(printable(formatMessageForArgumentScannerError(error, {})));
    return `tsmq: ${text}${counted ? aboutUrl : ""}`;
  },
  exceptionWhileRunningCommand: (error: unknown) => `tsmq: ${messageOf(error)}`,
  noCommandRegisteredForInput: ({ input, corrections }: { input: string; corrections: readonly string[] }) => {
    const meant = suggestions(input, corrections);
    const advice = meant.length > 0 ? `did you mean ${meant.join(" or ")}?` : "see tsmq --help";
    return `tsmq: Cannot run "${withoutUser(printable(input))}": unknown command; ${advice}`;
  },
};

const app: Application<CommandContext> = buildApplication(
  buildRouteMap({
    routes: {
      sub,
      pub,
      put,
      get,
      peek,
      purge,
      dead,
      call,
      serve,
      groups,
      queues,
      who,
      top,
      ui,
      bench,
      doctor,
      reap,
      completion,
    },
    docs: { brief: "A message bus from the command line", fullDescription: ABOUT },
  }),
  {
    name: "tsmq",
    versionInfo: { currentVersion: VERSION },
    scanner: { caseStyle: "allow-kebab-for-camel", allowArgumentEscapeSequence: true },
    documentation: { disableAnsiColor: true, useAliasInUsageLine: true },
    localization: { text },
    determineExitCode: exitCode,
  },
);

/** The end of an error about the number of arguments: where the URL is from. */
let aboutUrl = "";

/** Matches the commands that take no URL. */
const WITHOUT_URL = /^(completion|complete|-.*)$/;
/** Matches what is meant as a URL. */
const LIKE_URL = /^[a-z][a-z\d+.-]*:\/\//i;
/** Matches the commands whose name has two words. */
const TWO_WORDS = /^(dead|groups)$/;

/** Inserts the URL of the environment where the URL of a command is missing. */
function withUrl(args: readonly string[]): readonly string[] {
  const [command, sub] = args;
  aboutUrl = args.some(isUrl) ? "" : "; the first one is the URL of the transport, unless TSMQ_URL contains it";
  if (command === undefined || WITHOUT_URL.test(command) || environment("TSMQ_URL") === undefined) return args;
  const at = TWO_WORDS.test(command) ? 2 : 1;
  if (at === 2 && (sub === undefined || sub.startsWith("-"))) return args;
  // flags may precede the URL
  const candidates = args[at]?.startsWith("-") ? args.slice(at) : args.slice(at, at + 1);
  // one of another kind is refused as a URL; otherwise it would be the name of a topic or a queue
  if (candidates.some((text) => isUrl(text) || LIKE_URL.test(text))) return args;
  aboutUrl = "; the URL is that of TSMQ_URL";
  return [...args.slice(0, at), "env:TSMQ_URL", ...args.slice(at)];
}

/** Runs the command that these arguments name, and sets the exit code of the process. */
export async function main(given: readonly string[] = process.argv.slice(2)): Promise<void> {
  const args = withUrl(given);
  const { stdout, stderr } = process;
  // print() rejects when the reader is gone; an unhandled "error" event would end the process before the bus is closed
  stdout.on("error", () => {});
  // an empty environment, because reading the real one needs a permission
  const context: Parameters<typeof run>[2] = { process: { stdout, stderr, env: {} } };
  if (args[0] === "complete") {
    const proposed = await proposeCompletions(app, args.slice(args[1] === "--" ? 2 : 1), context);
    for (const { completion, brief } of proposed) await printRaw(`${completion}\t${brief}\n`);
    return;
  }
  await run(app, args, context);
  const code = Number(context.process.exitCode ?? 0);
  // stricli's own codes are negative and mean that it did not understand the command line
  if (code !== 0) process.exitCode = code < 0 ? 2 : code;
  // a pending read of standard input cannot be cancelled and would keep the process alive
  process.exit();
}
