/* parser.y - the grammar: tokens to syntax tree, nothing else.
 *
 * Requires: tokens from lexer.l, passed on by next_token in recover.h.
 * Establishes: a Tree in which every node has its place, or errors for every mistake that could be told apart.
 * The grammar knows no operator: conv, input and add are names like any other. Words that it does know are keywords.
 *
 * After a mistake the parser drops the statement in which it stands, at ';' or '}', and goes on behind it. recover.h
 * chooses the place; the rules that take part say so with `error`.
 */
%require "3.8"
%define api.pure full
%define api.location.type {Span}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%param {Parser *p}
%initial-action { (void)yynerrs; }              /* bison counts what diag counts */

%code requires {
#include "cnnc.h"

typedef struct Parser Parser;
typedef struct { const char *name; Expr *index; } Label;
typedef struct { int braces; bool in_network; } Place;
}

%union {
    const char *text;
    int64_t     integer;
    double      real;
    Place       place;
    Label       label;
    Expr       *expr;
    ExprList    exprs;
    Arg         arg;
    ArgList     args;
    Param       param;
    ParamList   params;
    NameList    names;
    Stmt       *stmt;
    StmtList    stmts;
}

%code provides {

enum { MAX_TOKEN = 256, MAX_TOKENS = 1000000, MAX_SYNTAX_ERRORS = 1000 };

typedef struct { int kind; YYSTYPE value; Span span; } Token;
typedef struct { int kind, before; Span span; } Bracket;        /* before: the kind of the token in front of it */

/* One parse. The first half is what the grammar needs, the second what recover.h remembers between tokens. */
struct Parser {
    Arena        *arena;
    Diag         *diag;
    const Source *source;
    void         *scanner;              /* of flex                                                     */
    int           offset;               /* bytes scanned                                               */
    bool          stopped;              /* after an error behind which nothing can be made out         */
    bool          placeless;            /* spans are {0, 0}                                            */
    int           start;                /* a token that goes before the text, or 0                     */
    Tree         *tree;
    Expr         *expression;           /* what parse_expression wants                                 */
    ArgList       train;                /* of the network that is being read                           */
    bool          has_train;
    Span          train_span;

    int           stray;                /* where the scanner last left something out                   */
    int           tokens;
    Token         lookahead;            /* the last token that the parser got                          */
    Token         previous;             /* the one before it                                           */
    int           last_kind;            /* of the last token scanned                                   */
    Bracket       open[MAX_NESTING];    /* brackets not yet closed                                     */
    int           depth, braces;        /* how many, and how many of them are '{'                      */
    Bracket       enclosing;            /* innermost bracket around the lookahead; kind 0: none        */
    int           braces_before;        /* `braces` before the lookahead                               */
    Span          unclosed;             /* a '{' whose '}' seems to be missing, judging by indentation */
    bool          in_network;
    bool          broken;               /* an error was reported in this definition                    */
    bool          forced;               /* the next one begins inside of it                            */
    bool          skipping;             /* leaving out what follows an error: up to the ';' at skip_level,     */
    bool          to_definition, to_brace;      /* or only to a definition, or only to the '}'         */
    int           skip_level;
    int           closing;              /* '}' to be made up,                                          */
    bool          semicolon;            /* then a ';',                                                 */
    bool          holding;              /* then `held`, before scanning goes on                        */
    Token         held;
};

/* lexer.l */
int  scan_token(YYSTYPE *, Span *, void *scanner);
void scanner_open(Parser *);
void scanner_close(Parser *);

/* nodes.c: what the rules build. NULL: too deep, reported. */
void add_definition(Parser *, int keyword, Name, ParamList, StmtList);
void add_arg(Parser *, ArgList *, Arg);
void add_train(Parser *, Place, Span, ArgList);
Expr *make_leaf(Parser *, Span, ExprKind);
Expr *make_operation(Parser *, Span, const char *op, Expr *, Expr *);
Expr *make_list(Parser *, ExprKind, Span, ExprList);
Expr *make_call(Parser *, Span, const char *name, ArgList);
Stmt *make_call_stmt(Parser *, Span, const char *name, Span name_span, ArgList);
Stmt *make_repeat(Parser *, Span, NameList, Expr *count, Expr *from, Expr *to, StmtList body);
Stmt *make_nest(Parser *, StmtKind, Span, Expr *condition, StmtList body, const StmtList *other);
Stmt *label_stmt(Stmt *, Label, Span);
}

%code {
#include "recover.h"

#define yylex next_token

#define YYLLOC_DEFAULT(whole, parts, count)                                                                        \
    ((whole) = (count) ? (Span){YYRHSLOC(parts, 1).begin, YYRHSLOC(parts, count).end}                              \
                       : (Span){YYRHSLOC(parts, 0).end, YYRHSLOC(parts, 0).end})

static void yyerror(Span *, Parser *, const char *);

/* A constructor that returns NULL has reported that the tree is too deep: nothing more is worth reading. */
#define TRY(result)  do { if (!(result)) YYABORT; } while (0)
}

/* The strings are how a token is called in errors. */
%token YYEOF 0 "the end of the file"
%token ';' ':' '=' ',' '(' '[' '{' ')' ']' '}'
%token NETWORK "'network'" BLOCK "'block'" REPEAT "'repeat'" IN "'in'" CONCAT "'concat'" RESIDUAL "'residual'"
%token SHORTCUT "'shortcut'" WHEN "'when'" IF "'if'" ELSE "'else'" AS "'as'" FROM "'from'" YES "'yes'" NO "'no'"
%token OR "'||'" AND "'&&'" EQUAL "'=='" UNEQUAL "'!='" AT_MOST "'<='" AT_LEAST "'>='" SHIFT_LEFT "'<<'"
%token SHIFT_RIGHT "'>>'" RANGE "'..'"
%token EXPRESSION "an expression alone"         /* stands before the text of parse_expression; no text contains it */
%token <text> NAME "a name" STRING "a string"
%token <integer> INTEGER "an integer"
%token <real> REAL "a real number"
%token <place> TRAIN "'train'"

/* From the loosest to the tightest, as in C. */
%right '?' ':'
%left OR
%left AND
%left EQUAL UNEQUAL
%left '<' '>' AT_MOST AT_LEAST
%left SHIFT_LEFT SHIFT_RIGHT
%left '+' '-'
%left '*' '/' '%'
%precedence UNARY

%type <expr> expr
%type <exprs> exprs
%type <arg> arg
%type <args> args arg_list settings
%type <param> param
%type <params> params param_list
%type <names> names
%type <label> label
%type <stmt> statement call construct if branch
%type <stmts> body statements branches

%%

start:
    file
  | EXPRESSION expr                             { p->expression = $expr; }
  ;

/* ---- definitions ------------------------------------------------------------------------------------------------- */

file:
    definition
  | file definition
  ;

/* network lenet(classes = 10) { ... }   block stage(n) { ... }   A ';' behind the brace is allowed. */
definition:
    NETWORK NAME params body                    { add_definition(p, NETWORK, (Name){$NAME, @NAME}, $params, $body); }
  | BLOCK NAME params body                      { add_definition(p, BLOCK, (Name){$NAME, @NAME}, $params, $body); }
  | ';'
  | error                                       /* recover.h skips to the next definition */
  ;

params:
    %empty                                      { $$ = (ParamList){0}; }
  | '(' ')'                                     { $$ = (ParamList){0}; }
  | '(' param_list ')'                          { $$ = $param_list; }
  | '(' param_list ',' ')'                      { $$ = $param_list; }
  ;

param_list:
    param                                       { $$ = (ParamList){0}; APPEND(p->arena, &$$, $param); }
  | param_list ',' param                        { $$ = $1; APPEND(p->arena, &$$, $param); }
  ;

param:
    NAME                                        { $$ = (Param){$NAME, @NAME, NULL}; }
  | NAME '=' expr                               { $$ = (Param){$NAME, @NAME, $expr}; }
  ;

/* ---- statements -------------------------------------------------------------------------------------------------- */

body:
    '{' statements '}'                          { $$ = $statements; }
  | '{' statements error '}'                    { $$ = $statements; yyerrok; }
  ;

statements:
    %empty                                      { $$ = (StmtList){0}; }
  | statements statement                        {
                                                    $$ = $1;
                                                    if ($statement)
                                                        APPEND(p->arena, &$$, $statement);
                                                }
  ;

/* A statement that leaves nothing in the tree is NULL. */
statement:
    call ';'
  | label ':' call ';'                          { $$ = label_stmt($call, $label, @label); }
  | body                                        { TRY($$ = make_nest(p, STMT_GROUP, @$, NULL, $body, NULL)); }
  | label ':' body                              {
                                                    TRY($$ = make_nest(p, STMT_GROUP, @body, NULL, $body, NULL));
                                                    label_stmt($$, $label, @label);
                                                }
  | construct
  | label ':' construct                         {
                                                    error_at(p->diag, @label, NULL, "a label names an operator, a "
                                                             "block or a group\nput the statement in braces: "
                                                             "%s: { ... }", $label.name);
                                                    $$ = $construct;
                                                }
  | TRAIN '{' settings '}'                      { add_train(p, $TRAIN, @TRAIN, $settings); $$ = NULL; }
  | TRAIN '{' settings error '}'                { add_train(p, $TRAIN, @TRAIN, $settings); $$ = NULL; yyerrok; }
  | ';'                                         { $$ = NULL; }
  | error ';'                                   { $$ = NULL; yyerrok; }
  ;

/* relu   conv(64, 3, pad = 1)   concat(a, b) */
call:
    NAME                                        { $$ = make_call_stmt(p, @$, $NAME, @NAME, (ArgList){0}); }
  | NAME '(' args ')'                           { $$ = make_call_stmt(p, @$, $NAME, @NAME, $args); }
  | CONCAT '(' args ')'                         { $$ = make_call_stmt(p, @$, "concat", @CONCAT, $args); }
  ;

/* conv1   layer[stage] */
label:
    NAME                                        { $$ = (Label){$NAME, NULL}; }
  | NAME '[' expr ']'                           { $$ = (Label){$NAME, $expr}; }
  ;

construct:
    REPEAT expr body                            {
                                                    TRY($$ = make_repeat(p, @$, (NameList){0}, $expr, NULL, NULL,
                                                                         $body));
                                                }
  | REPEAT names IN expr body                   { TRY($$ = make_repeat(p, @$, $names, $expr, NULL, NULL, $body)); }
  | REPEAT names IN expr[from] RANGE expr[to] body
                                                { TRY($$ = make_repeat(p, @$, $names, NULL, $from, $to, $body)); }
  | CONCAT '{' branches '}'                     { TRY($$ = make_nest(p, STMT_CONCAT, @$, NULL, $branches, NULL)); }
  | CONCAT '{' branches error '}'               {
                                                    TRY($$ = make_nest(p, STMT_CONCAT, @$, NULL, $branches, NULL));
                                                    yyerrok;
                                                }
  | RESIDUAL body                               { TRY($$ = make_nest(p, STMT_RESIDUAL, @$, NULL, $body, NULL)); }
  | RESIDUAL body SHORTCUT body[other]          { TRY($$ = make_nest(p, STMT_RESIDUAL, @$, NULL, $2, &$other)); }
  | RESIDUAL body SHORTCUT WHEN '(' expr ')' body[other]
                                                {
                                                    TRY($$ = make_nest(p, STMT_RESIDUAL, @$, NULL, $2, &$other));
                                                    $$->when = $expr;
                                                }
  | if
  | AS NAME ';'                                 {
                                                    $$ = stmt_new(p->arena, STMT_AS, @$);
                                                    $$->name = $NAME, $$->name_span = @NAME;
                                                }
  | FROM NAME ';'                               {
                                                    $$ = stmt_new(p->arena, STMT_FROM, @$);
                                                    $$->name = $NAME, $$->name_span = @NAME;
                                                }
  ;

/* A chain of `else if` becomes one statement inside the other branch of the one before. */
if:
    IF '(' expr ')' body                        { TRY($$ = make_nest(p, STMT_IF, @$, $expr, $body, NULL)); }
  | IF '(' expr ')' body ELSE body[other]       { TRY($$ = make_nest(p, STMT_IF, @$, $expr, $5, &$other)); }
  | IF '(' expr ')' body ELSE if[next]          {
                                                    StmtList other = {0};
                                                    APPEND(p->arena, &other, $next);
                                                    TRY($$ = make_nest(p, STMT_IF, @$, $expr, $body, &other));
                                                }
  ;

/* concat { { ... }  left: { ... }  {} } */
branches:
    %empty                                      { $$ = (StmtList){0}; }
  | branches branch                             { $$ = $1; APPEND(p->arena, &$$, $branch); }
  ;

branch:
    body                                        { TRY($$ = make_nest(p, STMT_GROUP, @$, NULL, $body, NULL)); }
  | label ':' body                              {
                                                    TRY($$ = make_nest(p, STMT_GROUP, @body, NULL, $body, NULL));
                                                    label_stmt($$, $label, @label);
                                                }
  ;

names:
    NAME                                        { $$ = (NameList){0}; APPEND(p->arena, &$$, ((Name){$NAME, @NAME})); }
  | names ',' NAME                              { $$ = $1; APPEND(p->arena, &$$, ((Name){$NAME, @NAME})); }
  ;

/* train { batch = 32; optimizer = sgd(lr = 0.1); } */
settings:
    %empty                                      { $$ = (ArgList){0}; }
  | settings NAME '=' expr ';'                  { $$ = $1; APPEND(p->arena, &$$, ((Arg){$NAME, @NAME, $expr})); }
  | settings error ';'                          { $$ = $1; yyerrok; }
  ;

/* ---- expressions ------------------------------------------------------------------------------------------------- */

args:
    %empty                                      { $$ = (ArgList){0}; }
  | arg_list
  | arg_list ','
  ;

arg_list:
    arg                                         { $$ = (ArgList){0}; add_arg(p, &$$, $arg); }
  | arg_list ',' arg                            { $$ = $1; add_arg(p, &$$, $arg); }
  ;

arg:
    expr                                        { $$ = (Arg){NULL, {0, 0}, $expr}; }
  | NAME '=' expr                               { $$ = (Arg){$NAME, @NAME, $expr}; }
  ;

exprs:
    expr                                        { $$ = (ExprList){0}; APPEND(p->arena, &$$, $expr); }
  | exprs ',' expr                              { $$ = $1; APPEND(p->arena, &$$, $expr); }
  ;

expr:
    INTEGER                                     { TRY($$ = make_leaf(p, @$, EXPR_INT)); $$->integer = $INTEGER; }
  | REAL                                        { TRY($$ = make_leaf(p, @$, EXPR_REAL)); $$->real = $REAL; }
  | STRING                                      { TRY($$ = make_leaf(p, @$, EXPR_STRING)); $$->text = $STRING; }
  | YES                                         { TRY($$ = make_leaf(p, @$, EXPR_BOOL)); $$->integer = 1; }
  | NO                                          { TRY($$ = make_leaf(p, @$, EXPR_BOOL)); }
  | NAME                                        { TRY($$ = make_leaf(p, @$, EXPR_NAME)); $$->text = $NAME; }
  | IN '.' NAME                                 {
                                                    TRY($$ = make_leaf(p, @$, EXPR_FIELD));
                                                    $$->text = "in";
                                                    $$->field = $NAME;
                                                }
  | NAME[tensor] '.' NAME[field]                {
                                                    TRY($$ = make_leaf(p, @$, EXPR_FIELD));
                                                    $$->text = $tensor;
                                                    $$->field = $field;
                                                }
  | NAME '(' args ')'                           { TRY($$ = make_call(p, @$, $NAME, $args)); }
  | '(' exprs ')'                               {
                                                    if ($exprs.count == 1)
                                                        $$ = $exprs.items[0];
                                                    else
                                                        TRY($$ = make_list(p, EXPR_TUPLE, @$, $exprs));
                                                }
  | '(' exprs ',' ')'                           { TRY($$ = make_list(p, EXPR_TUPLE, @$, $exprs)); }
  | '[' ']'                                     { TRY($$ = make_leaf(p, @$, EXPR_LIST)); }
  | '[' exprs ']'                               { TRY($$ = make_list(p, EXPR_LIST, @$, $exprs)); }
  | '[' exprs ',' ']'                           { TRY($$ = make_list(p, EXPR_LIST, @$, $exprs)); }
  | '-' expr  %prec UNARY                       { TRY($$ = make_operation(p, @$, "-", $2, NULL)); }
  | '!' expr  %prec UNARY                       { TRY($$ = make_operation(p, @$, "!", $2, NULL)); }
  | expr '*' expr                               { TRY($$ = make_operation(p, @$, "*", $1, $3)); }
  | expr '/' expr                               { TRY($$ = make_operation(p, @$, "/", $1, $3)); }
  | expr '%' expr                               { TRY($$ = make_operation(p, @$, "%", $1, $3)); }
  | expr '+' expr                               { TRY($$ = make_operation(p, @$, "+", $1, $3)); }
  | expr '-' expr                               { TRY($$ = make_operation(p, @$, "-", $1, $3)); }
  | expr SHIFT_LEFT expr                        { TRY($$ = make_operation(p, @$, "<<", $1, $3)); }
  | expr SHIFT_RIGHT expr                       { TRY($$ = make_operation(p, @$, ">>", $1, $3)); }
  | expr '<' expr                               { TRY($$ = make_operation(p, @$, "<", $1, $3)); }
  | expr '>' expr                               { TRY($$ = make_operation(p, @$, ">", $1, $3)); }
  | expr AT_MOST expr                           { TRY($$ = make_operation(p, @$, "<=", $1, $3)); }
  | expr AT_LEAST expr                          { TRY($$ = make_operation(p, @$, ">=", $1, $3)); }
  | expr EQUAL expr                             { TRY($$ = make_operation(p, @$, "==", $1, $3)); }
  | expr UNEQUAL expr                           { TRY($$ = make_operation(p, @$, "!=", $1, $3)); }
  | expr AND expr                               { TRY($$ = make_operation(p, @$, "&&", $1, $3)); }
  | expr OR expr                                { TRY($$ = make_operation(p, @$, "||", $1, $3)); }
  | expr '?' expr ':' expr                      {
                                                    TRY($$ = expr_new(p->arena, p->diag, EXPR_CONDITIONAL, @$,
                                                                      $1, $3, $5));
                                                }
  ;

%%

#include "syntax_error.h"

/* Bison's stack is full: chains such as - - - 1 or a ? b : c ? d : ... that are known to be
 * too deep only at their end. */
static void yyerror(Span *span, Parser *p, const char *message)
{
    (void)message;
    if (!p->stopped)
        error_at(p->diag, *span, NULL, "nested deeper than %d\nmove the inner parts into a block", MAX_NESTING);
    p->stopped = true;
}

/* ---- entry points ------------------------------------------------------------------------------------------------ */

Tree *parse(Arena *arena, Diag *diag, const Source *source)
{
    int errors = diag->errors;
    diag->source = source;
    Parser p = {.arena = arena, .diag = diag, .source = source, .stray = -1, .tree = NEW(arena, Tree)};
    scanner_open(&p);
    int status = yyparse(&p);
    scanner_close(&p);
    if (status != 0 && diag->errors == errors)
        abort();                        /* every refusal has its reason */
    return diag->errors == errors ? p.tree : NULL;
}

Expr *parse_expression(Arena *arena, const char *text)
{
    Diag diag = {.muted = true};
    Parser p = {.arena = arena, .diag = &diag, .stray = -1, .start = EXPRESSION, .placeless = true,
                .tree = NEW(arena, Tree)};
    p.source = source_from_text(arena, "", text);
    scanner_open(&p);
    int status = yyparse(&p);
    scanner_close(&p);
    return status == 0 && diag.errors == 0 ? p.expression : NULL;
}
