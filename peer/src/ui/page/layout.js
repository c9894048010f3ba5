/**
 * Where tiles go: as large as the space allows, from one to many. Pure arithmetic.
 */

/** @typedef {{x: number, y: number, width: number, height: number}} Place */

/**
 * Equal tiles; the last row is centred.
 * @param {number} count @param {number} width @param {number} height @returns {Place[]}
 */
export function grid(count, width, height) {
  if (count === 0) return [];
  let best = { columns: 1, tile: { width: 0, height: 0 } };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const tile = fit((width - GAP * (columns - 1)) / columns, (height - GAP * (rows - 1)) / rows);
    if (tile.width * tile.height > best.tile.width * best.tile.height) best = { columns, tile };
  }
  const { columns, tile } = best;
  const rows = Math.ceil(count / columns);
  const top = (height - rows * tile.height - (rows - 1) * GAP) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = Math.min(columns, count - row * columns);
    const left = (width - inRow * tile.width - (inRow - 1) * GAP) / 2;
    return { x: left + (index % columns) * (tile.width + GAP), y: top + row * (tile.height + GAP), ...tile };
  });
}

/**
 * One large tile, the others small beside it, or below it where the space is upright.
 * @param {number} others @param {number} width @param {number} height @returns {{large: Place, others: Place[]}}
 */
export function spotlight(others, width, height) {
  if (others === 0) return { large: { x: 0, y: 0, width, height }, others: [] };
  const isUpright = width < height * 1.2;
  const share = others > 6 ? 0.3 : 0.22;
  const across = Math.max(84, Math.min(isUpright ? height * share : width * share, others > 6 ? 340 : 240));
  const small = isUpright ? grid(others, width, across) : grid(others, across, height);
  const places = small.map((place) => (isUpright ? { ...place, y: place.y + height - across } : { ...place, x: place.x + width - across }));
  const large = isUpright
    ? { x: 0, y: 0, width, height: height - across - GAP }
    : { x: 0, y: 0, width: width - across - GAP, height };
  return { large, others: places };
}

/**
 * One person fills the space, ourselves float in a corner.
 * @param {number} width @param {number} height @returns {{large: Place, floating: Place}}
 */
export function pair(width, height) {
  const own = fit(Math.max(104, Math.min(width * 0.24, 260)), Math.max(80, height * 0.26));
  const large = grid(1, width, height)[0] ?? { x: 0, y: 0, width, height };
  const floating = { x: large.x + large.width - own.width - GAP, y: large.y + large.height - own.height - GAP, ...own };
  return { large, floating };
}

/** The largest tile of a pleasant shape in this space. @param {number} width @param {number} height */
function fit(width, height) {
  if (width <= 0 || height <= 0) return { width: 1, height: 1 };
  if (width / height > WIDEST) return { width: height * WIDEST, height };
  if (width / height < NARROWEST) return { width, height: width / NARROWEST };
  return { width, height };
}

const GAP = 10;
/** Most cameras give 4:3 or 16:9; between these shapes little of either is cut off. */
const WIDEST = 1.6;
const NARROWEST = 0.75;
