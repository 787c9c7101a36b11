import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { tool } from "./tools.ts";

/** A certificate, by default for 127.0.0.1 and localhost, that signs itself, so that it is the one to trust as well. */
export interface Certificate {
  readonly ca: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** Makes one with openssl, in a directory of the caller's; `names`: whom it is for. */
export function certificate(dir: string, names = "DNS:localhost,IP:127.0.0.1"): Certificate {
  const certFile = join(dir, "cert.pem");
  const keyFile = join(dir, "key.pem");
  execFileSync(tool("openssl"), [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...["-subj", "/CN=localhost", "-addext", `subjectAltName=${names}`],
    ...["-keyout", keyFile, "-out", certFile],
  ], { stdio: "ignore" });
  return { ca: readFileSync(certFile, "utf8"), certFile, keyFile };
}
