/**
 * Where the tests of the AWS provider run: fauxqs in this process, or what `TSMQ_TEST_AWS_ENDPOINT` names (the URL of
 * another emulator, or `aws` for the real service with the credentials and the region of the environment).
 */
import { startFauxqs } from "fauxqs";
import process from "node:process";
import type { AwsOptions } from "../../src/providers/aws/provider.ts";

export interface Emulator extends AsyncDisposable {
  /** Options that lead there. */
  readonly options: AwsOptions;
  readonly stop: () => Promise<void>;
}

const given = process.env.TSMQ_TEST_AWS_ENDPOINT;

/** True for what this process starts: a fresh server, on a port of its own, that a test may put a proxy before. */
export const own: boolean = given === undefined;

/** Emulators ask nobody for a key, but the SDK signs with one. */
const KEY = { region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } };

/** Starts fauxqs, or leads to what the environment names. */
export async function startEmulator(): Promise<Emulator> {
  const { options, stop } = given === undefined ? await startOwn() : {
    options: given === "aws" ? {} : { ...KEY, endpoint: given },
    stop: () => Promise.resolve(),
  };
  return { options, stop, [Symbol.asyncDispose]: stop };
}

async function startOwn(): Promise<{ options: AwsOptions; stop: () => Promise<void> }> {
  const server = await startFauxqs({ port: 0, logger: false, host: "127.0.0.1" });
  // it ends polls that nobody waits for any more only when they are over
  return { options: { ...KEY, endpoint: `http://127.0.0.1:${server.port}` }, stop: () => server.stop() };
}
