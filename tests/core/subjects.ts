/** The cases in which the transport makes no difference, by subject. What a transport can break is in the conformance kit. */
import type { Cases } from "../../src/conformance/cases.ts";
import { closing } from "./closing.ts";
import { consumers } from "./consumers.ts";
import { contracts } from "./contracts.ts";
import { global } from "./global.ts";
import { groups } from "./groups.ts";
import { headers } from "./headers.ts";
import { depth } from "./depth.ts";
import { input } from "./input.ts";
import { life } from "./life.ts";
import { multi } from "./multi.ts";
import { objects } from "./objects.ts";
import { options } from "./options.ts";
import { pubsub } from "./pubsub.ts";
import { reports } from "./reports.ts";
import { rpc } from "./rpc.ts";
import { servers } from "./servers.ts";
import { streams } from "./streams.ts";
import { subscriptions } from "./subscriptions.ts";
import { thrown } from "./thrown.ts";
import { values } from "./values.ts";

/** The cases by subject. */
export const CORE: Readonly<Record<string, Cases>> = {
  life,
  closing,
  pubsub,
  subscriptions,
  consumers,
  groups,
  rpc,
  servers,
  multi,
  streams,
  thrown,
  reports,
  headers,
  global,
  objects,
  values,
  contracts,
  depth,
  input,
  options,
};
