/**
 * Reads environment variables without asking for a permission.
 *
 * @module
 */
import process from "node:process";

interface Permissions {
  querySync(permission: { name: "env"; variable: string }): { readonly state: string };
}

/** Returns the value of a variable; undefined if it is not set, is empty, or may not be read. */
export function environment(variable: "TSMQ_URL" | "TSMQ_NAMESPACE" | "TSMQ_KEYS_FILE"): string | undefined {
  const { Deno } = globalThis as { Deno?: { permissions: Permissions } };
  if (Deno && Deno.permissions.querySync({ name: "env", variable }).state !== "granted") return undefined;
  return process.env[variable] || undefined;
}
