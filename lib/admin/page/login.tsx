import { useEffect, useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import { login, loginNewapi, refusal, session, staysInNewapi } from './api.ts';
import type { Failure } from './failure.ts';
import { t } from './text.ts';
import { problemText } from './ui.tsx';

/** Asks for the admin token, or for an access token of NewAPI where the browser is not logged in there. */
export function Login(): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  const [error, setError] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  const newapi = session.value?.auth === 'newapi';
  const shown = error ?? refusal.value;
  useEffect(() => { document.title = `${t().logIn} · Heimdall`; field.current?.focus(); }, []);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const fields = new FormData(event.target as HTMLFormElement);
    const token = String(fields.get('token')).trim();
    setBusy(true);
    try {
      await (newapi ? loginNewapi(String(fields.get('id')).trim(), token) : login(token));
    } catch (failure) {
      setError(failure as Failure);
      field.current?.select();
    }
    setBusy(false);
  };
  return (
    <main class="login">
      <form onSubmit={(event) => void submit(event)}>
        <h1>Heimdall</h1>
        <p>{newapi ? t().loginNewapi : t().loginToken}</p>
        {staysInNewapi.value ? <p role="status">{t().newapiStays}</p> : null}
        {newapi ? <label class="field"><span>{t().newapiUser}</span><input name="id" inputMode="numeric" pattern="[0-9]+" required autocomplete="username" /></label> : null}
        <label class="field"><span>{newapi ? t().accessToken : t().adminToken}</span><input ref={field} type="password" name="token" required autocomplete="current-password" spellcheck={false} aria-invalid={shown !== null} /></label>
        {shown === null ? null : <p class="problem" role="alert">{shown.code !== 'unauthorized' ? problemText(shown) : error !== null ? t().wrongToken : t().loginEnded}</p>}
        <button type="submit" class="main" disabled={busy} aria-busy={busy}>{t().logIn}</button>
      </form>
    </main>
  );
}
