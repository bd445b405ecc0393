// Asks each second, and touches the page only where it has something new: who reads it, or has it read, is left alone otherwise.
'use strict';
const connection = document.getElementById('connection');
function show(part, html) {
  if (part.innerHTML !== html) part.innerHTML = html;
}
async function update() {
  try {
    const response = await fetch('/', { signal: AbortSignal.timeout(2000) });
    const page = new DOMParser().parseFromString(await response.text(), 'text/html');
    for (const part of document.querySelectorAll('[data-live]')) show(part, page.getElementById(part.id).innerHTML);
    document.title = page.title;
    show(connection, '');
  } catch {
    document.title = 'Out of date · Marketplace status';
    show(connection, 'This balancer does not answer: what is below is out of date. The other balancer has this page, too.');
  }
  setTimeout(update, 1000);
}
setTimeout(update, 1000);
