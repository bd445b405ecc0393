/** What clients and the API say to each other: the contract, from which requests are checked, answers written and the OpenAPI page made. Prices are in cents. */
import { z } from 'zod';

/** In a URL numbers are text: digits alone, without zeros in front, so that nothing has two URLs. */
const fromText = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((text) => (typeof text === 'string' && /^[1-9]\d*$/.test(text) ? Number(text) : text), schema);

const id = z
  .number()
  .int()
  .min(1)
  .max(2 ** 31);
const cents = z.number().int().min(0).max(100_000_000);
/** More of one product is a wholesaler's order. */
export const quantityMax = 99;
/** A basket is carried by one person. */
export const basketItemsMax = 50;
const quantity = z.number().int().min(1).max(quantityMax);

export const byId = z.object({ id: fromText(id) });

export const producer = z.object({
  id: z.number(),
  name: z.string(),
  place: z.string(),
  about: z.string(),
  products: z.number().describe('how many it sells'),
});
export type Producer = z.infer<typeof producer>;

export const product = z.object({
  id: z.number(),
  name: z.string(),
  unit: z.string().describe('what one is: a piece, 500 g'),
  priceCents: z.number(),
  stock: z.number().describe('how many there are'),
  producer: z.object({ id: z.number(), name: z.string() }),
});
export type Product = z.infer<typeof product>;

export const productQuery = z.object({
  search: z.string().trim().max(60).default('').describe('words in the name of the product or of its producer'),
  producer: fromText(id.optional()).describe("only this producer's"),
  page: fromText(z.number().int().min(1).max(1_000).default(1)),
  size: fromText(z.number().int().min(1).max(50).default(12)).describe('products on a page'),
});
export type ProductQuery = z.infer<typeof productQuery>;

export const productPage = z.object({ products: z.array(product), total: z.number().describe('on all pages') });
export type ProductPage = z.infer<typeof productPage>;

export const credentials = z.object({
  name: z
    .string()
    .trim()
    .normalize('NFC')
    .min(3)
    .max(40)
    .regex(/^[\p{L}\p{N}._@+-]+$/u, 'letters, digits and . _ @ + -')
    .describe('compared letter by letter: Ana, ana and Aná are three; how Unicode composes the letters makes no difference'),
  password: z.string().min(8).max(200),
});
export type Credentials = z.infer<typeof credentials>;

export const visitor = z.object({
  token: z.string().min(20).max(100).describe('what the sign-in service gave; its stand-in takes any'),
});

export const account = z.object({ id: z.number(), name: z.string() });
export type Account = z.infer<typeof account>;

export const session = z.object({
  account,
  token: z.string().describe('for programs, as "Authorization: Bearer TOKEN"; browsers have it as a cookie'),
});
export type Session = z.infer<typeof session>;

export const current = z.object({ account: account.nullable() });
export type Current = z.infer<typeof current>;

export const basketItem = z.object({ quantity: z.number().int().min(0).max(quantityMax).describe('0 takes it out') });
export const basket = z.object({
  items: z.array(z.object({ product, quantity: z.number() })),
  totalCents: z.number(),
});
export type Basket = z.infer<typeof basket>;

export const orderRequest = z.object({
  items: z
    .array(
      z.object({
        productId: id,
        quantity,
      }),
    )
    .min(1)
    .max(basketItemsMax)
    .refine((items) => new Set(items.map(({ productId }) => productId)).size === items.length, 'each product once'),
  totalCents: cents.describe('what the buyer has seen and agreed to; at another price the order is refused'),
  deliverTo: z
    .string()
    .trim()
    .min(5)
    .max(200)
    .regex(/^(?:[^\p{Cc}\p{Cs}]|\n)*$/u, 'no control characters but line feeds'),
});
export type OrderRequest = z.infer<typeof orderRequest>;

/** Beside the other headers. */
export const idempotencyKey = z.looseObject({
  'idempotency-key': z
    .string()
    .regex(/^[\w-]{8,100}$/, '8 to 100 letters, digits, - and _')
    .describe('names the order: requests of one account with one key are one order, however often they are sent'),
});

export const orderStatus = z.enum(['placed', 'paid', 'shipped']);
export const order = z.object({
  id: z.number(),
  status: orderStatus,
  deliverTo: z.string(),
  totalCents: z.number(),
  placedAt: z.iso.datetime(),
  items: z.array(z.object({ productId: z.number(), name: z.string(), quantity: z.number(), priceCents: z.number() })),
});
export type Order = z.infer<typeof order>;

export const problem = z.object({ type: z.string(), title: z.string(), status: z.number(), detail: z.string() });
export type Problem = z.infer<typeof problem>;

export const about = z.object({ standIns: z.array(z.string()).describe('services that only seem to be there, a sentence each') });
export type About = z.infer<typeof about>;
