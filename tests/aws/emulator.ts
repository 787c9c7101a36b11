/**
 * Where the tests of the AWS provider run: fauxqs, or what `TSMQ_TEST_AWS_ENDPOINT` names (the URL of another emulator,
 * or `aws` for the real service with the credentials and the region of the environment).
 */
import type { AwsOptions } from "../../src/providers/aws/provider.ts";
import { FauxqsServer } from "../support/fauxqs_server.ts";

export interface Emulator extends AsyncDisposable {
  /** Options that lead there. */
  readonly options: AwsOptions;
  /** Its port on loopback, if this process started it. */
  readonly port: number | undefined;
  /** The same options, by another port: a proxy's. */
  through(port: number): AwsOptions;
  stop(): Promise<void>;
}

/** Emulators ask nobody for a key, but the SDK signs with one. */
const KEY = { region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } };

export async function startEmulator(): Promise<Emulator> {
  const server = await FauxqsServer.start();
  const stop = () => server.stop();
  return {
    options: server.endpoint === "aws" ? {} : { ...KEY, endpoint: server.endpoint },
    port: server.ours ? Number(new URL(server.endpoint).port) : undefined,
    through: (port) => ({ ...KEY, endpoint: `http://127.0.0.1:${port}` }),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
