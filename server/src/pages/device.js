// Confirms the login of a command line. The code is in the address or typed; nothing is confirmed without
// a click.

import { ask, find, tell, whoAmI } from '/login/session.js';

const LETTERS = /[^BCDFGHJKLMNPQRSTVWXZ]/g;

function normal(text) {
  const letters = text.toUpperCase().replace(LETTERS, '').slice(0, 8);
  return `${letters.slice(0, 4)}-${letters.slice(4)}`;
}

const place = (code, action) =>
  `/v3/deviceLogins/${encodeURIComponent(code)}${action ? `?action=${action}` : ''}`;

function ended(message) {
  find('confirm').hidden = true;
  find('ask').hidden = true;
  find('result').textContent = message;
  find('done').hidden = false;
}

async function decide(code, action) {
  const { ok, json } = await ask('POST', place(code, action), {});
  if (!ok) return tell(json.message ?? 'The server does not answer.');
  if (action === 'approve') ended('Confirmed. Go back to your terminal.');
  else ended('Refused. The program is not logged in.');
}

async function show(code) {
  tell('');
  const { ok, json } = await ask('GET', place(code));
  if (!ok) {
    find('ask').hidden = false;
    return tell(json.message ?? 'The server does not answer.');
  }
  find('ask').hidden = true;
  find('code').textContent = json.userCode;
  find('from').textContent = json.from;
  find('at').textContent = new Date(json.createdTS).toLocaleString();
  find('description').textContent = json.description;
  find('approve').addEventListener('click', () => decide(json.userCode, 'approve'));
  find('deny').addEventListener('click', () => decide(json.userCode, 'deny'));
  find('confirm').hidden = false;
}

const { name } = await whoAmI();
if (name === undefined) {
  const back = encodeURIComponent(location.pathname + location.search);
  location.replace(`/login?next=${back}`);
} else {
  find('name').textContent = name;
  find('ask').addEventListener('submit', (event) => {
    event.preventDefault();
    show(normal(find('typed').value));
  });
  const code = new URLSearchParams(location.search).get('code');
  if (code === null) find('ask').hidden = false;
  else await show(normal(code));
}
