import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { tool } from "./tools.ts";

/** A self-signed certificate, by default for 127.0.0.1 and localhost. Clients trust it as its own authority. */
export interface Certificate {
  readonly ca: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** Creates a certificate with openssl in the given directory, for the given names. */
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
