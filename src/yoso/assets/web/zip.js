// A zip archive without compression: its members are PNGs, which are compressed already.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

const UTF8_NAMES = 0x0800;
const DATE = (1 << 5) | 1; // 1 January 1980: archives of equal content are equal

// Return a Blob; `members` maps names to Blobs or texts.
export async function zip(members) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [name, content] of Object.entries(members)) {
    const data = new Uint8Array(await new Blob([content]).arrayBuffer());
    const path = new TextEncoder().encode(name);
    const shared = [20, UTF8_NAMES, 0, 0, DATE];
    const sizes = [crc32(data), data.length, data.length];
    const local = fields([0x04034b50], shared, sizes, [path.length, 0]);
    directory.push(
      fields([0x02014b50], [20, ...shared], sizes, [path.length, 0, 0, 0, 0], [0, offset]),
      path,
    );
    parts.push(local, path, data);
    offset += local.length + path.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = Object.keys(members).length;
  const end = fields([0x06054b50], [0, 0, count, count], [size, offset], [0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

// Groups alternate between numbers of 4 and of 2 bytes, in the order in which the format has them.
function fields(...groups) {
  const bytes = [];
  groups.forEach((group, place) => {
    for (const value of group) {
      for (let byte = 0; byte < (place % 2 ? 2 : 4); byte++) bytes.push(Math.floor(value / 256 ** byte) & 255);
    }
  });
  return Uint8Array.from(bytes);
}
