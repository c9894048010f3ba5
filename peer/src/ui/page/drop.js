/**
 * Files that are dropped on the window or pasted into it.
 *
 * Outside a call nothing is taken, and nothing is opened either: a browser would leave the page for the file.
 */
import { find } from './dom.js';
import { t } from './i18n.js';
import { notice } from './notices.js';

/** @param {{isActive: () => boolean, take: (files: File[]) => void}} actions */
export function listenForDrops({ isActive, take }) {
  const zone = find('drop', HTMLElement);
  window.addEventListener('dragover', (event) => {
    if (!hasFiles(event.dataTransfer)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = isActive() ? 'copy' : 'none';
    zone.hidden = !isActive();
  });
  window.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) zone.hidden = true;
  });
  window.addEventListener('drop', (event) => {
    zone.hidden = true;
    if (!hasFiles(event.dataTransfer)) return;
    event.preventDefault();
    if (isActive()) take(filesOf(event.dataTransfer));
  });
  window.addEventListener('paste', (event) => {
    if (!isActive() || !event.clipboardData?.files.length) return;
    event.preventDefault();
    take([...event.clipboardData.files]);
  });
}

/** @param {DataTransfer | null} data */
const hasFiles = (data) => data?.types.includes('Files') ?? false;

/** What can be read; a folder is not a file. @param {DataTransfer | null} data */
function filesOf(data) {
  const items = [...(data?.items ?? [])].filter((item) => item.kind === 'file');
  const files = items.filter((item) => !item.webkitGetAsEntry()?.isDirectory).map((item) => item.getAsFile());
  if (files.length < items.length) notice(t('file.folder'));
  return files.filter((file) => file !== null);
}
