/**
 * The table from the errors of AWS, its SDK and sockets to the codes of tsmq, and to whether a retry is safe.
 *
 * @module
 */
import { BusError, closedWhile, lacksPermission, ProviderError, ValidationError } from "../../errors.ts";
import { redactError, redactText } from "../../internal/secrets.ts";
import { connectionFault, isA, textOf } from "../../internal/thrown.ts";

/** The effect of a failed request. */
export type Failure =
  /** AWS refused the request because requests came too fast or too soon. It was not executed. */
  | "throttled"
  /** AWS refused the request because the credentials have expired. It was not executed. */
  | "expired"
  /** AWS refused the request because of this machine's clock, whose offset the SDK now knows. It was not executed. */
  | "skewed"
  /** The request was not sent, or no server listened at the address. It was not executed. */
  | "unsent"
  /** The request may have been executed or not. */
  | "unknown"
  /** AWS refused the request, and a retry would fail too. It was not executed. */
  | "refused";

type Code = "unavailable" | "denied" | "too_large" | "internal";
type Entry = readonly [code: Code, failure: Failure, hint?: string];

/** Name of an error → the code, the effect of the request, and advice if the error has none. */
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
    // the topic was deleted a moment ago, or another bus is creating it
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
  ["QueueDeletedRecently", ["unavailable", "refused", "SQS creates a queue again only 60 s after it was freed"]],
  ["TopicLimitExceeded", ["unavailable", "refused", "the account has as many topics as its quota allows"]],
  ["SubscriptionLimitExceeded", ["unavailable", "refused"]],
]);

function entries(code: Code, failure: Failure, names: readonly string[]): [string, Entry][] {
  return names.map((name) => [name, [code, failure]]);
}

/** Matches the prefix that SQS still writes before codes of its old protocol. */
const SERVICE = /^(AWS\.SimpleQueueService|KMS)\./;
/** The errors of requests that were signed with a wrong time. */
const SKEWED: ReadonlySet<string> = new Set([
  "InvalidSignatureException",
  "RequestExpired",
  "RequestInTheFuture",
  "RequestTimeTooSkewed",
  "SignatureDoesNotMatch",
]);
/** Socket errors that show that no request was sent. */
const UNSENT: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);
const NO_QUEUE = /^(QueueDoesNotExist|NonExistentQueue)$/;
/** The errors for an attribute that an emulator does not know, and for a queue that exists with other attributes. */
const ATTRIBUTES = /^(InvalidAttribute(Name|Value)|InvalidParameter(Value)?|QueueNameExists|QueueAlreadyExists)$/;
const NO_TOPIC = /^(NotFound|NotFoundException|ResourceNotFound|ResourceNotFoundException)$/;

/** Returns true if the error says that the queue does not exist. */
export function noQueue(error: unknown): boolean {
  return NO_QUEUE.test(nameOf(error));
}

/** Returns true if the service refuses to create a queue with these attributes. */
export function refusesAttributes(error: unknown): boolean {
  return ATTRIBUTES.test(nameOf(error));
}

/** Returns true if the error says that the topic or the subscription does not exist. */
export function noTopic(error: unknown): boolean {
  return NO_TOPIC.test(nameOf(error));
}

/** Returns the effect of the request that failed with this error. */
export function failureOf(error: unknown): Failure {
  const { code, $fault, $metadata, $retryable } = shape(error);
  if ($metadata?.clockSkewCorrected && SKEWED.has(nameOf(error))) return "skewed";
  const known = ERRORS.get(nameOf(error));
  if (known) return known[1];
  if ($metadata?.httpStatusCode === 429 || $retryable?.throttling) return "throttled";
  const status = $metadata?.httpStatusCode;
  // without `$fault`, the reply ended before it named the error
  if ($fault !== undefined && status !== undefined && status >= 400 && status < 500) return "refused";
  if (code !== undefined && causes(error).some((cause) => UNSENT.has(shape(cause).code ?? ""))) return "unsent";
  return status === undefined && (isLocal(error) || lacksPermission(error)) ? "refused" : "unknown";
}

/**
 * Matches the request that AWS quotes, with its headers, when the signature is wrong. Each run of spaces is tried from its start only,
 * because trying it from each of its spaces takes quadratic time.
 */
const QUOTED = /(?<!\s)\s*The (Canonical String|String-to-Sign)[^]*?(?=\n {4}at |$)/g;

/** Converts an error of a request to an error of tsmq. `doing` completes "Cannot …". */
export function toBusError(doing: string, error: unknown): BusError {
  if (isA(error, BusError)) return closedWhile(doing, error);
  const text = textOf(error);
  if (/^Region is missing/.test(text)) {
    return new ValidationError(
      `Cannot ${doing}: there is no region; set the option \`region\` or the variable AWS_REGION`,
    );
  }
  const known = ERRORS.get(nameOf(error));
  const hint = known?.[2];
  const code = known?.[0] ?? codeOf(error, text);
  const said = connectionFault(error, "AWS") ?? `${nameOf(error)}: ${text}${hint ? ` (${hint})` : ""}`;
  redactError(error, QUOTED);
  return new ProviderError(code, `Cannot ${doing}: ${redactText(said, QUOTED)}`, { cause: error });
}

function codeOf(error: unknown, text: string): Code {
  const status = shape(error).$metadata?.httpStatusCode;
  if (status === 401 || status === 403 || lacksPermission(error)) return "denied";
  if (/must be shorter than|too long|exceeds the maximum/i.test(text)) return "too_large";
  return failureOf(error) === "refused" ? "internal" : "unavailable";
}

interface Shape {
  readonly name?: string;
  readonly code?: string;
  readonly Code?: string;
  readonly cause?: unknown;
  /** The side that caused the error: "client" or "server". Only the error of a complete reply has it. */
  readonly $fault?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly clockSkewCorrected?: boolean };
  readonly $retryable?: { readonly throttling?: boolean };
}

/** Reads an error of the SDK, a failed entry of a batch, or any thrown value. */
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
  return textOf(Code ?? name ?? "Error").replace(SERVICE, "");
}

function causes(error: unknown): unknown[] {
  if (isA(error, AggregateError)) return [error, ...error.errors];
  const { cause } = shape(error);
  return cause === undefined ? [error] : [error, cause];
}

/** Returns true for an error that the SDK found before it sent anything: a wrong parameter, endpoint or type. */
function isLocal(error: unknown): boolean {
  return isA(error, TypeError) || isA(error, RangeError) || /^Region is missing|^Invalid URL/.test(textOf(error));
}
