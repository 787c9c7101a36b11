/**
 * The service for the tests of the AWS provider: fauxqs, or the service that `TSMQ_TEST_AWS_ENDPOINT` names (the URL of another emulator,
 * or `aws` for the real service with the credentials and the region of the environment).
 */
import { it } from "@std/testing/bdd";
import process from "node:process";
import type { AwsOptions } from "../../src/providers/aws/provider.ts";
import { FauxqsServer } from "../support/fauxqs_server.ts";
import { skip } from "../support/skip.ts";

export interface Emulator extends AsyncDisposable {
  /** Options of a provider for the emulator. */
  readonly options: AwsOptions;
  /** The port of the emulator on loopback, for a proxy. */
  readonly port: number;
  /** The same options, with the port of a proxy. */
  through(port: number): AwsOptions;
  stop(): Promise<void>;
}

const given = process.env.TSMQ_TEST_AWS_ENDPOINT;

/** True if the tests can use a proxy to the service. */
export const proxied: boolean = !given || ["127.0.0.1", "localhost"].includes(URL.parse(given)?.hostname ?? "");

/** `it` for tests that use a proxy to the emulator. */
export const itProxied: (name: string, fn: () => unknown) => void = proxied
  ? it
  : (name) => skip(name, "TSMQ_TEST_AWS_ENDPOINT is not on this machine, so no proxy stands before it");

/** Emulators need no key, but the SDK signs with one. */
const KEY = { region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } };

export async function startEmulator(): Promise<Emulator> {
  const server = await FauxqsServer.start();
  const stop = () => server.stop();
  return {
    options: server.endpoint === "aws" ? {} : { ...KEY, endpoint: server.endpoint },
    port: proxied ? Number(new URL(server.endpoint).port) : NaN,
    through: (port) => ({ ...KEY, endpoint: `http://127.0.0.1:${port}` }),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
