/**
 * The one table from what AWS, its SDK and sockets say to our codes, and to what may be done about it.
 *
 * @module
 */
import { BusError, lacksPermission, ProviderError, ValidationError } from "../../errors.ts";
import { isA, show, textOf } from "../../internal/thrown.ts";

/** What a request that failed has done. */
export type Fate =
  /** Refused because there are too many, or too soon; not done. */
  | "throttled"
  /** Refused because the credentials have expired; not done. */
  | "expired"
  /** Refused because of the time by this machine's clock, which the SDK has corrected since; not done. */
  | "skewed"
  /** Never left this machine, or nobody was there to take it; not done. */
  | "unsent"
  /** Done or not: nobody knows. */
  | "unknown"
  /** Refused for good. */
  | "refused";

type Code = "unavailable" | "denied" | "too_large" | "internal";
type Entry = readonly [code: Code, fate: Fate, hint?: string];

/** Error name → our code, what the request has done, and what to do about it where AWS does not say. */
const ERRORS: ReadonlyMap<string, Entry> = new Map<string, Entry>([
  ...entries("unavailable", "throttled", [
    "RequestThrottled",
    "RequestThrottledException",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "SlowDown",
    "KMSThrottling",
    "KMSThrottlingException",
    "KmsThrottled",
    "OverLimit",
    // a topic that was deleted a moment ago, or is made by others at this moment
    "StaleTag",
    "StaleTagException",
    "ConcurrentAccess",
    "ConcurrentAccessException",
  ]),
  ...entries("denied", "expired", ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"]),
  ...entries("denied", "refused", [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "AuthorizationError",
    "AuthorizationErrorException",
    "CredentialsProviderError",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSignatureException",
    "KmsAccessDenied",
    "KMSAccessDenied",
    "KMSAccessDeniedException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
  ]),
  ...entries("too_large", "refused", ["BatchRequestTooLong", "BatchRequestTooLongException"]),
  ["QueueDeletedRecently", ["unavailable", "refused", "SQS makes a queue again 60 s after it was freed, not earlier"]],
  ["TopicLimitExceeded", ["unavailable", "refused", "the account has as many topics as its quota allows"]],
  ["SubscriptionLimitExceeded", ["unavailable", "refused"]],
]);

function entries(code: Code, fate: Fate, names: readonly string[]): [string, Entry][] {
  return names.map((name) => [name, [code, fate]]);
}

/** What SQS still writes before codes of its old protocol. */
const SERVICE = /^(AWS\.SimpleQueueService|KMS)\./;
/** What AWS says to a request that was signed at another time than its own. */
const SKEWED: ReadonlySet<string> = new Set([
  "InvalidSignatureException",
  "RequestExpired",
  "RequestInTheFuture",
  "RequestTimeTooSkewed",
  "SignatureDoesNotMatch",
]);
/** Codes of sockets that say that no request was sent. */
const UNSENT: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);
const NO_QUEUE = /^(QueueDoesNotExist|NonExistentQueue)$/;
const NO_TOPIC = /^(NotFound|NotFoundException|ResourceNotFound|ResourceNotFoundException)$/;

/** True if the error says that the queue does not exist. */
export function noQueue(error: unknown): boolean {
  return NO_QUEUE.test(nameOf(error));
}

/** True if the error says that the topic or the subscription does not exist. */
export function noTopic(error: unknown): boolean {
  return NO_TOPIC.test(nameOf(error));
}

/** What the request that failed with this error has done. */
export function fateOf(error: unknown): Fate {
  const { code, $fault, $metadata, $retryable } = shape(error);
  if ($metadata?.clockSkewCorrected && SKEWED.has(nameOf(error))) return "skewed";
  const known = ERRORS.get(nameOf(error));
  if (known) return known[1];
  if ($metadata?.httpStatusCode === 429 || $retryable?.throttling) return "throttled";
  const status = $metadata?.httpStatusCode;
  // without a fault the reply broke off before it named one: what it would have said, nobody knows
  if ($fault !== undefined && status !== undefined && status >= 400 && status < 500) return "refused";
  if (code !== undefined && causes(error).some((cause) => UNSENT.has(shape(cause).code ?? ""))) return "unsent";
  return status === undefined && (isLocal(error) || lacksPermission(error)) ? "refused" : "unknown";
}

/** Turns whatever a request was rejected with into an error of ours; `doing` completes "Cannot …". */
export function toBusError(doing: string, error: unknown): BusError {
  if (isA(error, BusError)) return error;
  const text = textOf(error);
  if (/^Region is missing/.test(text)) {
    return new ValidationError(`Cannot ${doing}: no region; give \`region\`, or set AWS_REGION`);
  }
  const known = ERRORS.get(nameOf(error));
  const hint = known?.[2];
  const said = `${nameOf(error)}: ${text}${hint ? ` (${hint})` : ""}`;
  return new ProviderError(known?.[0] ?? codeOf(error, text), `Cannot ${doing}: ${said}`, { cause: error });
}

function codeOf(error: unknown, text: string): Code {
  const status = shape(error).$metadata?.httpStatusCode;
  if (status === 401 || status === 403 || lacksPermission(error)) return "denied";
  if (/must be shorter than|too long|exceeds the maximum/i.test(text)) return "too_large";
  return fateOf(error) === "refused" ? "internal" : "unavailable";
}

interface Shape {
  readonly name?: string;
  readonly code?: string;
  readonly Code?: string;
  readonly cause?: unknown;
  /** Only the SDK's errors that were read from a complete reply have one. */
  readonly $fault?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly clockSkewCorrected?: boolean };
  readonly $retryable?: { readonly throttling?: boolean };
}

/** An error of the SDK, an entry of a batch that failed, or anything that was thrown. */
function shape(error: unknown): Shape {
  try {
    const { name, code, Code, cause, $fault, $metadata, $retryable } = error as Shape;
    return { name, code, Code, cause, $fault, $metadata, $retryable };
  } catch {
    return {}; // null, or an object that cannot be read
  }
}

function nameOf(error: unknown): string {
  const { name, Code } = shape(error);
  return show(Code ?? name ?? "Error").replace(SERVICE, "");
}

function causes(error: unknown): unknown[] {
  if (isA(error, AggregateError)) return [error, ...error.errors];
  const { cause } = shape(error);
  return cause === undefined ? [error] : [error, cause];
}

/** A fault that the SDK found before it sent anything: a parameter, an endpoint, a type. */
function isLocal(error: unknown): boolean {
  return isA(error, TypeError) || isA(error, RangeError) || /^Region is missing|^Invalid URL/.test(textOf(error));
}
