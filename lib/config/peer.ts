import { key } from './fields.ts';
import { choice, orNull, text } from './value-types.ts';

const file = (example: string) => text('a path', example);
const hostNames = ['client', 'target'] as const;

/** The keys of an upstream as the other end of a connection, without `host`. */
const connection = {
  caPath: key(orNull(file('/certs/ca.crt')), null, 'PEM file of the certificate authorities that may sign the server certificate, in place of the public ones'),
  certPath: key(orNull(file('/certs/client.crt')), null, 'PEM file of the client certificate and its chain, for servers that require one'),
  keyPath: key(orNull(file('/certs/client.key')), null, 'PEM file of the private key of the client certificate'),
  serverName: key(
    orNull(text('a host name', 'newapi.example.com', /^(?=.*[a-z])[a-z0-9_]([a-z0-9_.-]*[a-z0-9])?$/i, (name) => name.toLowerCase())),
    null,
    'Host name for TLS: sent as SNI and checked against the server certificate',
    'host name of the URL',
  ),
};

/** Connection keys of the section `newapi`. */
export const newapiConnection = {
  host: key(choice(hostNames), 'client', "Host header sent to NewAPI: client is the client's, target is that of base_url. TLS always uses the host name of base_url or server_name"),
  ...connection,
};

/** Connection keys of a target. */
export const targetConnection = {
  host: key(
    { ...orNull(choice(hostNames)), output: "'client' | 'target'" },
    null,
    "Host header sent to the target: client is the client's, target is that of endpoint. TLS always uses the host name of endpoint or server_name",
    'newapi.host for a newapi target without api_key, else target',
  ),
  ...connection,
};
