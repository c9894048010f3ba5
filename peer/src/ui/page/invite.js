/**
 * The invite link, to copy or to scan.
 */
import { find, make } from './dom.js';
import { label, t } from './i18n.js';
import { notice } from './notices.js';
import { qrcode } from './vendor/qrcode.js';

/** A fresh block with the link; `withCode` adds the QR code. @param {string} link @param {boolean} withCode */
export function inviteBlock(link, withCode) {
  const field = make('input', { attributes: { type: 'text', readonly: '', spellcheck: 'false' } });
  field.value = link;
  label(field, t('invite.link'));
  field.onfocus = () => field.select();
  const copy = make('button', { class: 'primary', text: t('invite.copy'), attributes: { type: 'button' } });
  copy.onclick = () => copyLink(link, field);
  const block = make('div', { class: 'invite' }, make('div', { class: 'invite-link' }, field, copy));
  if (!withCode) return block;
  block.prepend(make('p', { text: t('invite.hint') }));
  block.append(code(link), make('p', { class: 'faint', text: t('invite.how') }));
  return block;
}

/** @param {string} link */
export function openInvite(link) {
  find('sheet-invite-body', HTMLElement).replaceChildren(inviteBlock(link, true));
  find('sheet-invite', HTMLDialogElement).showModal();
}

/** @param {string} link @param {HTMLInputElement} field */
async function copyLink(link, field) {
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    field.select();
    document.execCommand('copy');
  }
  notice(t('notice.copied'));
}

/** @param {string} link */
function code(link) {
  const qr = qrcode(0, 'M');
  qr.addData(link);
  qr.make();
  const count = qr.getModuleCount();
  const canvas = make('canvas', { class: 'qr', attributes: { role: 'img' } });
  canvas.width = canvas.height = count + 2 * QUIET;
  label(canvas, t('invite.qr'));
  const pen = canvas.getContext('2d');
  if (!pen) return canvas;
  pen.fillStyle = '#fff';
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = '#000';
  for (let row = 0; row < count; row += 1) {
    for (let column = 0; column < count; column += 1) {
      if (qr.isDark(row, column)) pen.fillRect(column + QUIET, row + QUIET, 1, 1);
    }
  }
  return canvas;
}

/** Modules of white around the code, as the standard asks. */
const QUIET = 4;
