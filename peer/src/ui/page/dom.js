/**
 * The page's elements: find one, make one, draw one of the icons of index.html.
 */

/**
 * The element with this id, of the class it must have.
 * @template {Element} T
 * @param {string} id
 * @param {new (...args: any[]) => T} kind
 * @returns {T}
 */
export function find(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`no ${kind.name} has the id ${id}`);
  return element;
}

/** @param {string} id */
export const button = (id) => find(id, HTMLButtonElement);

/**
 * A new element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {{class?: string, text?: string, attributes?: Record<string, string>}} [what]
 * @param {Node[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, what = {}, ...children) {
  const element = document.createElement(tag);
  if (what.class) element.className = what.class;
  if (what.text !== undefined) element.textContent = what.text;
  for (const [name, value] of Object.entries(what.attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * Changes which icon an element shows.
 * @param {Element} element
 * @param {string} name
 */
export function setIcon(element, name) {
  element.querySelector('use')?.setAttribute('href', `#i-${name}`);
}

/**
 * Sets text only where it differs, so that nothing is laid out or read aloud anew.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SVG = 'http://www.w3.org/2000/svg';
