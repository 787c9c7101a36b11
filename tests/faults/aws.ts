/** The emulator fauxqs of SNS and SQS, and a proxy to it. */
import type { Provider } from "../../mod.ts";
import { aws, type AwsOptions } from "../../src/providers/aws/provider.ts";
import { type Faulty, faulty } from "../bus/faulty.ts";
import { FauxqsServer } from "../support/fauxqs_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { pause } from "../support/until.ts";
import { clockStep, common, peerKilled, workerDies } from "./common.ts";
import type { Fault, Ground, Scene } from "./ground.ts";

/**
 * Milliseconds of the leases of buses. A bus that could not renew its lease in time counts as dead, so it is longer than a frozen server
 * and a busy machine delay a request. tests/aws/lost_queue_test.ts lets leases end.
 */
const LEASE = 6_000;

/** Starts a separate emulator. */
export class AwsGround implements Ground {
  readonly name = "aws";
  readonly server: FauxqsServer;
  readonly wire: TcpProxy;
  #faulty: Faulty | undefined;

  private constructor(server: FauxqsServer, wire: TcpProxy) {
    this.server = server;
    this.wire = wire;
  }

  static async open(): Promise<AwsGround> {
    const server = await FauxqsServer.start();
    return new AwsGround(server, await TcpProxy.to(Number(new URL(server.endpoint).port)));
  }

  get place(): { provider: "aws"; options: AwsOptions } {
    const endpoint = `http://127.0.0.1:${this.wire.port}`;
    const credentials = { accessKeyId: "test", secretAccessKey: "test" };
    return { provider: "aws", options: { endpoint, credentials, region: "us-east-1", lease: LEASE, poll: 2_000 } };
  }

  provider(breakable?: boolean): Provider {
    const provider = aws(this.place.options);
    if (!breakable) return provider;
    this.#faulty = faulty(undefined, provider);
    return this.#faulty.provider;
  }

  breakWorker(...how: Parameters<Faulty["fault"]>): void {
    this.#faulty!.fault(...how);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.wire.close();
    await this.server.stop();
  }
}

function fault(
  name: string,
  times: number,
  pause: number,
  inject: (scene: Scene<AwsGround>) => Promise<void>,
): Fault<AwsGround> {
  return { name, times, pause, inject };
}

export const awsFaults: readonly Fault<AwsGround>[] = [
  ...common(1 / 2),
  clockStep(1_000), // its leases are judged by the clocks of the machines
  fault("server frozen", 4, 100, async ({ ground: { server }, random }) => {
    server.freeze();
    await pause(random.int(50, 1_500));
    server.thaw();
  }),
  fault("wire cut", 20, 100, ({ ground: { wire } }) => Promise.resolve(wire.cut())),
  fault("replies lost", 10, 100, async ({ ground: { wire }, random }) => {
    wire.deaf = true;
    await pause(random.int(5, 100));
    wire.cut();
    wire.deaf = false;
  }),
  fault("refused", 6, 100, async ({ ground: { wire }, random }) => {
    await wire.refuse();
    await pause(random.int(10, 300));
    await wire.accept();
  }),
  fault("delayed", 6, 50, async ({ ground: { wire }, random }) => {
    wire.delay = random.int(10, 300);
    await pause(random.int(50, 300));
    wire.delay = 0;
  }),
  workerDies(3, ["events", "get"]),
  peerKilled(2),
];
