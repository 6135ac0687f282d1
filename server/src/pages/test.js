// Hands the code of a test over to the page that began it, or to the person.

const query = new URLSearchParams(location.search);
const [code, state] = [query.get('code') ?? '', query.get('state') ?? ''];
document.getElementById('code').textContent = code;
document.getElementById('state').textContent = state;
if (window.opener) {
  window.opener.postMessage({ type: 'lariat-login-test', code, state }, location.origin);
}
