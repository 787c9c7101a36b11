/**
 * Passes secrets to the worker separately from the options, because a printed provider shows its options.
 *
 * @module
 */
import type { ReceiverContext } from "../../provider/provider.ts";
import type { Settings } from "./options.ts";

/** The options that are posted to the worker, and that a printed provider shows. */
export interface Posted extends Omit<Settings, "credentials" | "client"> {
  /** Whether the worker asks for the settings, because they may contain secrets. */
  readonly asks: boolean;
}

/** Returns the options of the provider: the settings without secrets. */
export function posted(settings: Settings): Posted {
  const { credentials, client, ...rest } = settings;
  return { ...rest, asks: credentials !== undefined || Object.keys(client).length > 0 };
}

/** Returns the settings in the worker. */
export async function received({ options, ask }: ReceiverContext): Promise<Settings> {
  const { asks, ...rest } = options as Posted;
  return asks ? await ask("settings", undefined) as Settings : { ...rest, client: {} };
}
