// run: quiet, deadline 500, because a request takes longer than the cases allow while other files use the cores
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { aws, type AwsOptions } from "../../src/providers/aws/provider.ts";
import type { Harness } from "../../src/conformance/mod.ts";
import { type Emulator, proxied, startEmulator } from "../aws/emulator.ts";
import { share } from "../support/share.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { kit } from "./run.ts";

/** Short leases and polls, so that dead buses are soon detected, and items of dead polls are soon redelivered. */
const QUICK: AwsOptions = { lease: 10_000, poll: 2_000 };

describe("conformance of aws", () => {
  let emulator: Emulator;
  beforeAll(async () => emulator = await startEmulator());
  afterAll(() => emulator.stop());
  // a case that breaks connections gets a proxy of its own; the tests cannot cut the connection to an external service
  const apart = async () => {
    const proxy = await TcpProxy.to(emulator.port);
    return {
      provider: () => aws({ ...QUICK, ...emulator.through(proxy.port) }),
      faults: { cut: () => Promise.resolve(proxy.cut()) },
      [Symbol.asyncDispose]: () => proxy.close(),
    };
  };
  const harness: Harness = {
    provider: () => aws({ ...QUICK, ...emulator?.options }), // before it runs, only the features are read
    faults: proxied ? { cut: () => Promise.reject(new Error("only the proxy of a case can be cut")) } : undefined,
    skip: Object.fromEntries(
      [
        "faults: subscriptions are restored, and a gap is reported",
        "faults: a gap is reported between the events before and after the loss, even while the earlier events wait for their handler",
      ].map((name) => [name, "SQS keeps events for a bus that is cut off, so none is missed"]),
    ),
  };
  // most of them wait for polls; half of them under each runtime, because the SDK takes most of their CPU
  kit(harness, { lanes: 8, apart: proxied ? apart : undefined, which: share });
});
