/**
 * Takes the ELF kernel out of a bzImage, by the payload fields of its setup header
 * (Linux Documentation/arch/x86/boot.rst, payload_offset and payload_length, protocol 2.08). On a host whose KVM
 * emulates, and in the rig, a kernel must not have to decompress itself.
 * Runs on: main.
 */
import { gunzipSync } from 'node:zlib';
import { run } from './command.js';
import { RecipeError } from './recipe-error.js';

/** Fields of the setup header: offset in the file. */
const HEADER = {
  setupSects: 0x1f1,
  magic: 0x202,
  version: 0x206,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
};
const HDRS = 0x5372_6448; // "HdrS"
const SECTOR = 512;
const ELF = 0x464c_457f; // "\x7fELF"
/** The build appends the uncompressed size to every payload (gzip's own trailer serves as such). */
const SIZE_FIELD = 4;

/** How a payload's compression is told apart, and the command that undoes it from stdin to stdout. */
const COMPRESSIONS: readonly {
  name: string;
  magic: readonly number[];
  command: readonly [string, ...string[]];
}[] = [
  { name: 'gzip', magic: [0x1f, 0x8b], command: ['gzip', '-dc'] },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], command: ['xz', '-dc', '--single-stream'] },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd], command: ['zstd', '-dc'] },
  { name: 'lz4', magic: [0x02, 0x21, 0x4c, 0x18], command: ['lz4', '-dc'] },
];

/** The Debian packages whose commands `extractVmlinux` may run. */
export const DECOMPRESSORS = ['xz-utils', 'zstd', 'lz4'] as const;

/** The ELF file inside `bzImage`. @throws RecipeError if there is none or it is damaged */
export async function extractVmlinux(bzImage: Buffer): Promise<Buffer> {
  const payload = payloadOf(bzImage);
  const compression = COMPRESSIONS.find(({ magic }) => magic.every((byte, index) => payload[index] === byte));
  if (!compression) {
    throw new RecipeError(`unknown kernel compression: ${payload.subarray(0, 4).toString('hex')}`);
  }
  const size = payload.readUInt32LE(payload.length - SIZE_FIELD);
  const elf = await decompress(compression, payload);
  if (elf.length !== size || elf.length < SIZE_FIELD || elf.readUInt32LE(0) !== ELF) {
    throw new RecipeError(`the ${compression.name} payload is no ELF file of ${size} bytes`);
  }
  return elf;
}

/** The compressed kernel with the size field at its end. */
function payloadOf(image: Buffer): Buffer {
  if (image.length < HEADER.payloadLength + 4 || image.readUInt32LE(HEADER.magic) !== HDRS) {
    throw new RecipeError('not a bzImage: no setup header');
  }
  const version = image.readUInt16LE(HEADER.version);
  if (version < 0x208) throw new RecipeError(`boot protocol ${version.toString(16)} is older than 2.08`);
  const setupSects = image[HEADER.setupSects] || 4; // 0 means 4, boot.rst
  const start = (setupSects + 1) * SECTOR + image.readUInt32LE(HEADER.payloadOffset);
  const length = image.readUInt32LE(HEADER.payloadLength);
  if (length <= SIZE_FIELD || start + length > image.length) {
    throw new RecipeError(
      `truncated bzImage: payload of ${length} bytes at ${start}, file of ${image.length}`,
    );
  }
  return image.subarray(start, start + length);
}

async function decompress(
  { name, command }: (typeof COMPRESSIONS)[number],
  payload: Buffer,
): Promise<Buffer> {
  if (name === 'gzip') {
    try {
      return gunzipSync(payload);
    } catch (cause) {
      throw new RecipeError('the gzip payload is damaged', { cause });
    }
  }
  const [file, ...args] = command;
  const hint = `apt-get install ${DECOMPRESSORS.join(' ')}`;
  return run(file, args, { input: payload.subarray(0, payload.length - SIZE_FIELD), hint });
}
