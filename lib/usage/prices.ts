import { LRUCache } from 'lru-cache';
import type { Usage } from '../../types/usage.d.ts';

/** US dollars a million tokens. */
export interface Price {
  readonly input: number;
  readonly output: number;
  /** For input from a cache; without it as `input`. */
  readonly cached?: number | null;
}

/** Prices by model; a name that ends in `*` stands for all that begin so. */
export type Prices = Readonly<Record<string, Price>>;

/** US dollars for what a model of a provider used; null when nobody knows its price. */
export type CostOf = (model: string, provider: string, usage: Usage) => number | null;

/** What is used of `@pydantic/genai-prices`. */
export interface PriceBook {
  calcPrice(
    usage: { readonly input_tokens: number; readonly output_tokens: number; readonly cache_read_tokens: number },
    model: string,
    options: { readonly providerId?: string },
  ): { readonly total_price: number; readonly model_price: Readonly<Record<string, unknown>> } | null;
}

const bookName = '@pydantic/genai-prices';
/** Models are the callers' words. */
const remembered = { max: 1000, ttl: 60_000 };
const longestModel = 256;

/** US dollars by the price of the longest name that fits the model; null when none does. */
export function priceOf(model: string, usage: Usage, prices: Prices): number | null {
  const price = find(model, prices);
  return price === null ? null : cost(usage, price);
}

/**
 * Costs by the configured prices, else by those of `@pydantic/genai-prices`, when it is installed.
 * @param load imports the package.
 */
export async function loadPrices(prices: Prices, load: () => Promise<unknown> = () => import(bookName)): Promise<CostOf> {
  const book = await load().catch(() => null);
  const listed = isPriceBook(book) ? lookUp(book) : () => null;
  return (model, provider, usage) => priceOf(model, usage, prices) ?? listed(model, provider, usage);
}

function find(model: string, prices: Prices): Price | null {
  if (Object.hasOwn(prices, model)) return prices[model] as Price;
  let longest = '';
  for (const name in prices) {
    if (name.length > longest.length && name.endsWith('*') && model.startsWith(name.slice(0, -1))) longest = name;
  }
  return longest === '' ? null : (prices[longest] as Price);
}

function cost({ prompt, cached, completion }: Usage, price: Price): number {
  return ((prompt - cached) * price.input + cached * (price.cached ?? price.input) + completion * price.output) / 1_000_000;
}

const isPriceBook = (book: unknown): book is PriceBook => typeof (book as Partial<PriceBook> | null)?.calcPrice === 'function';

/** A look into the package takes 13 to 26 µs: what it says of a model is remembered for a minute, unless the price depends on the size. */
function lookUp(book: PriceBook): CostOf {
  const known = new LRUCache<string, { readonly price: Price | null }>(remembered);
  return (model, provider, usage) => {
    if (model.length > longestModel) return null;
    const id = `${provider} ${model}`;
    const found = known.get(id);
    if (found !== undefined) return found.price === null ? null : cost(usage, found.price);
    const listed = ask(book, model, provider, usage);
    const price = listed === null ? null : flat(listed.model_price);
    if (price !== undefined) known.set(id, { price });
    return listed === null ? null : listed.total_price;
  };
}

/** NewAPI relays for everybody, so there the model alone has to tell. */
function ask(book: PriceBook, model: string, provider: string, usage: Usage): ReturnType<PriceBook['calcPrice']> {
  const tokens = { input_tokens: usage.prompt, output_tokens: usage.completion, cache_read_tokens: usage.cached };
  try {
    return book.calcPrice(tokens, model, provider === 'newapi' ? {} : { providerId: provider });
  } catch {
    return null;
  }
}

/** The price when it is one number a kind; undefined when it rises with the size or is charged otherwise. */
function flat(listed: Readonly<Record<string, unknown>>): Price | undefined {
  const { input_mtok: input, output_mtok: output = 0, cache_read_mtok: cached = input } = listed;
  return typeof input === 'number' && typeof output === 'number' && typeof cached === 'number' ? { input, output, cached } : undefined;
}

/**
 * Costs from the first request on: by the configured prices at once, by the package's as soon as it has been looked for.
 * Nothing is looked for before the first answer that names tokens.
 */
export function costs(prices: Prices): CostOf {
  let known: CostOf | null = null;
  return (model, provider, usage) => {
    if (known !== null) return known(model, provider, usage);
    known = (name, _provider, used) => priceOf(name, used, prices);
    void loadPrices(prices).then((loaded) => (known = loaded));
    return known(model, provider, usage);
  };
}
