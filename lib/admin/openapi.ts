type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

/** What a row of the table says of a resource. */
interface Resource {
  readonly path: string;
  readonly what: Readonly<Partial<Record<Method, string>>>;
  readonly takesQuery?: true;
}

type Json = Readonly<Record<string, unknown>>;

/** Fields and parameters that a description names: its words in backticks, but for those in parentheses, which are values and events. */
const namesIn = (text: string): string[] => [...text.replaceAll(/\([^)]*\)/g, '').matchAll(/`([a-z][a-z_]*)(?:=\w+)?`/g)].map(([, name = '']) => name);

/**
 * The admin API as an OpenAPI 3.1 document, made from its table.
 * @param base path of the API on this gate.
 */
export function openapi(resources: readonly Resource[], base: string): Json {
  const paths = Object.fromEntries(resources.map((resource) => [`/${resource.path.replace(/:(\w+)\*?/g, '{$1}')}`, pathItem(resource)]));
  return {
    openapi: '3.1.0',
    info: { title: 'Heimdall admin API', version: '1' },
    servers: [{ url: base }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'admin.token, or admin.read_token for everything that changes nothing' } },
      schemas: { Error: { type: 'object', properties: { error: { type: 'object', properties: { message: { type: 'string' }, type: { type: 'string' }, code: { type: 'string' }, param: { type: ['string', 'null'] } } } } } },
    },
  };
}

function pathItem({ path, what, takesQuery }: Resource): Json {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
  return Object.fromEntries((Object.entries(what) as [Method, string][]).map(([method, text]) => {
    const query = takesQuery === true ? namesIn(text).map((name) => ({ name, in: 'query', schema: { type: 'string' } })) : [];
    const fields = method === 'POST' || method === 'PATCH' ? namesIn(text) : [];
    return [method.toLowerCase(), {
      operationId: `${method.toLowerCase()}_${path.replace(/:(\w+)\*?/g, 'by_$1').replace(/\W+/g, '_')}`,
      summary: text.replaceAll('`', ''),
      ...(inPath.length + query.length > 0 && { parameters: [...inPath, ...query] }),
      ...(fields.length > 0 && { requestBody: { content: { 'application/json': { schema: { type: 'object', properties: Object.fromEntries(fields.map((name) => [name, {}])) } } } } }),
      responses: { 200: { description: 'done' }, default: { description: 'an error', content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } } } },
    }];
  }));
}
