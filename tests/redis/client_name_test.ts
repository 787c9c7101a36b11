import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { busId, readClients, writeClientName } from "../../src/providers/redis/client_name.ts";

const INBOX = `__tsmq:inbox:__eventbus:n:${"0123456789abcdef".repeat(2)}`;

/** A line of CLIENT LIST. */
function client(name: string): string {
  return `id=3 addr=10.0.0.7:4711 laddr=10.0.0.1:6379 fd=8 name=${name} age=5 sub=1 user=default`;
}

describe("the name of a connection", () => {
  it("is printable ASCII without spaces, and is read as it was written", () => {
    const origin = { process: "shop: the ünïque\n.ts", host: "a b:c", pid: 7, since: 1_700_000_000_000 };
    const name = writeClientName(INBOX, origin);
    assertEquals(/^[!-~]+$/.test(name), true);
    assertEquals([...readClients(client(name)).values()], [{ id: busId(INBOX), ...origin }]);
    assertEquals([...readClients(client(writeClientName(INBOX, {}))).values()], [
      { id: "01234567", process: undefined, host: "10.0.0.7", pid: undefined, since: undefined },
    ]);
  });

  it("is cut if another client has written a long one, and ignored if it is longer than any that a bus writes", () => {
    const long = (length: number) => [...readClients(client(`tsmq:01234567:1:2:h:${"p".repeat(length)}`)).values()];
    assertEquals(long(576).map(({ process }) => process), ["p".repeat(64)]);
    assertEquals(long(577), []);
    const widest = "\uffff".repeat(64);
    const [found] = readClients(client(writeClientName(INBOX, { process: widest }))).values();
    assertEquals(found!.process, widest);
  });

  it("of other clients is ignored, and a broken part is absent", () => {
    const others = ["", "worker", "tsmq:xyz:1:2:h:p", "tsmq:01234567:1:2:h", `tsmq:01234567:${"9".repeat(40)}:2:h:p`];
    assertEquals([...readClients(others.map(client).join("\n"))], []);
    const [found] = readClients(client("tsmq:01234567:1:2:%E0%A4%A:%")).values();
    assertEquals(found, { id: "01234567", process: undefined, host: "10.0.0.7", pid: 1, since: 2 });
  });
});
