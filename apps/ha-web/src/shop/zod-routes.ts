/** Lets Fastify check requests, write answers and describe both (for the OpenAPI page) by schemas of Zod. */
import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifyTypeProvider } from 'fastify';
import { z } from 'zod';
import { Refusal } from './refusal.ts';

export interface ZodTypes extends FastifyTypeProvider {
  validator: this['schema'] extends z.ZodType ? z.output<this['schema']> : unknown;
  serializer: this['schema'] extends z.ZodType ? z.input<this['schema']> : unknown;
}

export type ZodApp = ReturnType<typeof withZod>;

/** Routes that are added after this may have schemas of Zod, and the app's `swagger()` describes them. */
export async function describeRoutes(
  app: FastifyInstance,
  info: { title: string; description: string; version: string },
): Promise<void> {
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info },
    transform: ({ schema, url }) => ({ schema: plainSchemas({ ...schema }), url }),
  });
}

export function withZod(app: FastifyInstance) {
  app.setValidatorCompiler<z.ZodType>(({ schema, httpPart = 'request' }) => (value) => {
    const { data, error } = schema.safeParse(value);
    return error === undefined ? { value: data } : { error: new Refusal('invalid', describe(httpPart, error)) };
  });
  app.setSerializerCompiler<z.ZodType>(
    ({ schema }) =>
      (value) =>
        JSON.stringify(schema.parse(value)),
  );
  return app.withTypeProvider<ZodTypes>();
}

const describe = (part: string, error: z.ZodError): string =>
  error.issues.map(({ path, message }) => `${[part, ...path].join('.')}: ${message}`).join('; ');

const plain = (schema: z.ZodType, io: 'input' | 'output'): object => {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
};

/** The same with JSON Schema in the place of Zod. */
function plainSchemas(schema: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(schema).map(([part, value]) => {
      if (value instanceof z.ZodType) return [part, plain(value, 'input')];
      if (part !== 'response') return [part, value];
      const responses = Object.entries(value as Record<string, z.ZodType>);
      return [part, Object.fromEntries(responses.map(([status, each]) => [status, plain(each, 'output')]))];
    }),
  );
}
