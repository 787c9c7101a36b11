/** The version of the package, as in `deno.json`: an installed package may have no such file. */
export const VERSION = "0.1.0";
