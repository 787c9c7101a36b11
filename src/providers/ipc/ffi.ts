/**
 * The C library by FFI: one interface for Deno and Bun, x86-64 and aarch64, glibc and musl.
 *
 * @module
 */
import { lacksPermission, ProviderError, UnsupportedError } from "../../errors.ts";
import { textOf } from "../../internal/thrown.ts";

type Type = "i32" | "u32" | "i64" | "usize" | "buffer" | "pointer";
type Native = Record<keyof typeof SYMBOLS, (...args: (Long | Uint8Array | null)[]) => number>;

/** A number for a parameter of 64 bits, as the runtime takes it fastest. */
export type Long = number | bigint;

const SYMBOLS = {
  mq_open: [["buffer", "i32", "u32", "buffer"], "i32"],
  mq_send: [["i32", "buffer", "usize", "u32"], "i32"],
  mq_receive: [["i32", "buffer", "usize", "buffer"], "i32"],
  mq_getattr: [["i32", "buffer"], "i32"],
  mq_unlink: [["buffer"], "i32"],
  ppoll: [["buffer", "usize", "buffer", "buffer"], "i32"],
  eventfd: [["u32", "i32"], "i32"],
  openat: [["i32", "buffer", "i32", "u32"], "i32"],
  ftruncate: [["i32", "i64"], "i32"],
  mmap: [["pointer", "usize", "i32", "i32", "i32", "i64"], "pointer"],
  munmap: [["pointer", "usize"], "i32"],
  read: [["i32", "buffer", "usize"], "i32"],
  write: [["i32", "buffer", "usize"], "i32"],
  close: [["i32"], "i32"],
  lseek: [["i32", "i64", "i32"], "i32"],
  dup3: [["i32", "i32", "i32"], "i32"],
  flock: [["i32", "i32"], "i32"],
  mkdirat: [["i32", "buffer", "u32"], "i32"],
  unlinkat: [["i32", "buffer", "i32"], "i32"],
  renameat: [["i32", "buffer", "i32", "buffer"], "i32"],
  symlinkat: [["buffer", "i32", "buffer"], "i32"],
  readlinkat: [["i32", "buffer", "buffer", "usize"], "i32"],
  prlimit: [["i32", "i32", "buffer", "buffer"], "i32"],
  fchmod: [["i32", "u32"], "i32"],
  fchown: [["i32", "u32", "u32"], "i32"],
  fremovexattr: [["i32", "buffer"], "i32"],
  fgetxattr: [["i32", "buffer", "buffer", "usize"], "i32"],
  utimensat: [["i32", "buffer", "buffer", "i32"], "i32"],
  clock_gettime: [["i32", "buffer"], "i32"],
  getegid: [[], "u32"],
  geteuid: [[], "u32"],
  getpid: [[], "i32"],
  kill: [["i32", "i32"], "i32"],
  syscall: [["i64", "i64", "buffer", "i64", "i64", "buffer"], "i32"],
  __errno_location: [[], "pointer"],
} as const satisfies Record<string, readonly [readonly Type[], Type]>;

/** The differences between the architectures: the numbers of system calls that old C libraries lack, and flags of `openat`. */
export interface Cpu {
  readonly statx: number;
  readonly getdents64: number;
  readonly directory: number;
  readonly gettid: number;
  readonly noFollow: number;
}

const X86: Cpu = { statx: 332, getdents64: 217, gettid: 186, directory: 0o200000, noFollow: 0o400000 };
const ARM: Cpu = { statx: 291, getdents64: 61, gettid: 178, directory: 0o40000, noFollow: 0o100000 };
/** The names of the processors on Deno and on Bun. */
const CPUS: Readonly<Record<string, Cpu>> = { x86_64: X86, x64: X86, aarch64: ARM, arm64: ARM };

/** The globals of the runtimes that name the platform. */
interface Runtimes {
  readonly Deno?: { readonly build: { readonly os: string; readonly arch: string } };
  readonly process?: { readonly platform: string; readonly arch: string };
}

/** Returns the platform. On Deno it does not touch the global `process`, whose first use takes 10 ms in each worker. */
function platformHere(): { readonly os: string; readonly arch: string } {
  const globals = globalThis as unknown as Runtimes;
  if (globals.Deno) return globals.Deno.build;
  const { platform, arch } = globals.process!;
  return { os: platform, arch };
}

/** The C library, with the functions and constants that its callers need. */
export interface Library {
  readonly native: Native;
  /** Returns a number for a parameter of 64 bits. On Deno, a call with a `number` there takes 0.3 to 0.6 µs more than one with a bigint. */
  readonly long: (value: number) => Long;
  /** The errno of the last call of this thread. */
  readonly errno: () => number;
  /** The memory at a pointer; undefined for -1. */
  readonly memory: (pointer: number, length: number) => ArrayBuffer | undefined;
  readonly cpu: Cpu;
}

/**
 * Opens the C library.
 *
 * @throws {UnsupportedError} if the platform has no POSIX message queues
 * @throws {ProviderError} "denied" if FFI is not allowed
 */
export async function openLibrary(): Promise<Library> {
  const { os, arch } = platformHere();
  const cpu = CPUS[arch];
  if (os !== "linux" || !cpu) {
    throw new UnsupportedError(
      `Cannot use POSIX message queues: they exist on Linux (x86-64, aarch64), not on ${os} (${arch})`,
    );
  }
  let cause: unknown;
  // before glibc 2.34 the queues are in librt, through which the rest of the C library is found; musl has both names
  for (const name of ["libc.so.6", "librt.so.1"]) {
    try {
      return { ...await open(name), cpu };
    } catch (error) {
      cause = error;
    }
  }
  if (lacksPermission(cause)) {
    throw new ProviderError("denied", `Cannot use POSIX message queues: ${textOf(cause)}`);
  }
  throw new UnsupportedError(`Cannot use POSIX message queues: the C library cannot be called (${textOf(cause)})`, {
    cause,
  });
}

async function open(library: string): Promise<Omit<Library, "cpu">> {
  if ("Deno" in globalThis) {
    const symbols = Object.fromEntries(
      Object.entries(SYMBOLS).map(([name, [parameters, result]]) => [name, { parameters, result }]),
    );
    const native = Deno.dlopen(library, symbols as Deno.ForeignLibraryInterface).symbols as unknown as Native;
    const view = new Deno.UnsafePointerView(native.__errno_location() as unknown as Deno.PointerObject);
    return {
      native,
      long: BigInt,
      errno: () => view.getInt32(),
      memory: (pointer, length) => {
        const object = pointer as unknown as Deno.PointerObject;
        if (Deno.UnsafePointer.value(object) === 2n ** 64n - 1n) return undefined;
        return Deno.UnsafePointerView.getArrayBuffer(object, length);
      },
    };
  }
  const name = "bun:ffi"; // a literal would make Deno resolve it
  const ffi = await import(name);
  const type = (type: Type) => type === "buffer" || type === "pointer" ? "ptr" : type;
  const symbols = Object.fromEntries(
    Object.entries(SYMBOLS).map(([name, [args, returns]]) => [name, { args: args.map(type), returns: type(returns) }]),
  );
  const native = ffi.dlopen(library, symbols).symbols as Native;
  const pointer = native.__errno_location();
  return {
    native,
    long: (value) => value,
    errno: () => ffi.read.i32(pointer, 0),
    memory: (pointer, length) => pointer < 2 ** 63 && pointer > 0 ? ffi.toArrayBuffer(pointer, 0, length) : undefined,
  };
}

/** Reads a signed integer of 64 bits. A bigint would be an allocation for each field. */
export function readLong(view: DataView, offset: number): number {
  return view.getInt32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true);
}
